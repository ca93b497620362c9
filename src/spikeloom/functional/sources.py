"""Papers that surrogate slopes and neurons come from."""

from spikeloom.papers import Paper

BELLEC = Paper(
    key="bellec2018long",
    title="Long short-term memory and learning-to-learn in networks of spiking neurons",
    authors=(
        "Bellec, Guillaume",
        "Salaj, Darjan",
        "Subramoney, Anand",
        "Legenstein, Robert",
        "Maass, Wolfgang",
    ),
    venue="Advances in Neural Information Processing Systems",
    year=2018,
    url="https://arxiv.org/abs/1803.09574",
    code="https://github.com/IGITUGraz/LSNN-official",
)
BENGIO = Paper(
    key="bengio2013estimating",
    title="Estimating or Propagating Gradients Through Stochastic Neurons for Conditional "
    "Computation",
    authors=("Yoshua Bengio", "Nicholas Léonard", "Aaron Courville"),
    venue="arXiv 1308.3432",
    form="misc",
    year=2013,
    url="https://arxiv.org/abs/1308.3432",
)
PLIF = Paper(
    key="fang2021plif",
    title="Incorporating Learnable Membrane Time Constant to Enhance Learning of Spiking Neural "
    "Networks",
    authors=(
        "Wei Fang",
        "Zhaofei Yu",
        "Yanqi Chen",
        "Timothée Masquelier",
        "Tiejun Huang",
        "Yonghong Tian",
    ),
    venue="IEEE/CVF International Conference on Computer Vision",
    year=2021,
    url="https://arxiv.org/abs/2007.05785",
    code="https://github.com/fangwei123456/Parametric-Leaky-Integrate-and-Fire-Spiking-Neuron",
)
SLAYER = Paper(
    key="shrestha2018slayer",
    title="SLAYER: Spike Layer Error Reassignment in Time",
    authors=("Sumit Bam Shrestha", "Garrick Orchard"),
    venue="Advances in Neural Information Processing Systems",
    year=2018,
    url="https://arxiv.org/abs/1810.08646",
    code="https://github.com/bamsumit/slayerPytorch",
)
STBP = Paper(
    key="wu2018stbp",
    title="Spatio-Temporal Backpropagation for Training High-Performance Spiking Neural Networks",
    authors=("Yujie Wu", "Lei Deng", "Guoqi Li", "Jun Zhu", "Luping Shi"),
    venue="Frontiers in Neuroscience",
    form="article",
    year=2018,
    url="https://doi.org/10.3389/fnins.2018.00331",
)
SUPERSPIKE = Paper(
    key="zenke2018superspike",
    title="SuperSpike: Supervised Learning in Multilayer Spiking Neural Networks",
    authors=("Friedemann Zenke", "Surya Ganguli"),
    venue="Neural Computation",
    form="article",
    year=2018,
    url="https://doi.org/10.1162/neco_a_01086",
    code="https://github.com/fzenke/pub2018superspike",
)
YIN = Paper(
    key="yin2021accurate",
    title="Accurate and efficient time-domain classification with adaptive spiking recurrent "
    "neural networks",
    authors=("Bojian Yin", "Federico Corradi", "Sander M. Bohté"),
    venue="Nature Machine Intelligence",
    form="article",
    year=2021,
    url="https://doi.org/10.1038/s42256-021-00397-w",
)
