"""The paper that radiance fields come from."""

from spikeloom.papers import Paper

NERF = Paper(
    key="mildenhall2020nerf",
    title="NeRF: Representing Scenes as Neural Radiance Fields for View Synthesis",
    authors=(
        "Ben Mildenhall",
        "Pratul P. Srinivasan",
        "Matthew Tancik",
        "Jonathan T. Barron",
        "Ravi Ramamoorthi",
        "Ren Ng",
    ),
    venue="European Conference on Computer Vision",
    year=2020,
    url="https://arxiv.org/abs/2003.08934",
    code="https://github.com/bmild/nerf",
)
