// Max-pooling of images with the channels last, one image at a time, the channels in the lanes.
// Compiled once per instruction set. As in torch the first of equal values is the largest, and the
// last NaN of a window is larger than all.
#include "maxpool.hpp"

#include "call.hpp"
#include "cell.hpp"
#include "lanes.hpp"

namespace {

typedef uint8_t vb __attribute__((vector_size(LANES)));

// Calls f(element of the window, offset of its pixel) for the part of a window inside the image.
template <class F>
INLINE void each_pixel(const PoolCall& c, int64_t row, int64_t column, F&& f) {
  const int64_t top = row * c.stride[0] - c.padding[0];
  const int64_t left = column * c.stride[1] - c.padding[1];
  for (int64_t i = 0; i < c.kernel[0]; ++i) {
    const int64_t y = top + i * c.dilation[0];
    if (y < 0 || y >= c.height) continue;
    for (int64_t j = 0; j < c.kernel[1]; ++j) {
      const int64_t x = left + j * c.dilation[1];
      if (x >= 0 && x < c.width) f(i * c.kernel[1] + j, (y * c.width + x) * c.channels);
    }
  }
}

// Windows of one image: f(row, column, offset of the output).
template <class F>
INLINE void each_window(const PoolCall& c, F&& f) {
  for (int64_t row = 0; row < c.out_height; ++row)
    for (int64_t column = 0; column < c.out_width; ++column)
      f(row, column, (row * c.out_width + column) * c.channels);
}

template <class IO>
void forward_as(const PoolCall& c, int64_t image) {
  const IO* x = (const IO*)c.x + image * c.height * c.width * c.channels;
  const int64_t start = image * c.out_height * c.out_width * c.channels;
  each_window(c, [&](int64_t row, int64_t column, int64_t offset) __attribute__((always_inline)) {
    each_vector(c.channels, [&](int64_t i, int64_t left) __attribute__((always_inline)) {
      vf best = all(-__builtin_inff());
      vi which = vi{} - 1;
      each_pixel(c, row, column, [&](int64_t k, int64_t at) __attribute__((always_inline)) {
        vf value = get(x + at + i, left);
        vi larger = (value > best) | (value != value) | (which < 0);
        best = pick(larger, value, best);
        which = larger ? vi{} + static_cast<int32_t>(k) : which;
      });
      put((IO*)c.out + start + offset + i, best, left);
      if (c.places) place(c.places + start + offset + i, __builtin_convertvector(which, vb), left);
    });
  });
}

template <class IO>
void backward_as(const PoolCall& c, int64_t image) {
  const int64_t size = c.height * c.width * c.channels;
  const int64_t start = image * c.out_height * c.out_width * c.channels;
  IO* grad_x = (IO*)c.grad_x + image * size;
  const bool apart = c.kernel[0] <= c.stride[0] && c.kernel[1] <= c.stride[1] &&
                     c.dilation[0] == 1 && c.dilation[1] == 1;
  const bool covered = apart && c.kernel[0] == c.stride[0] && c.kernel[1] == c.stride[1] &&
                       c.out_height * c.stride[0] == c.height &&
                       c.out_width * c.stride[1] == c.width && !c.padding[0] && !c.padding[1];
  if (!covered) __builtin_memset(grad_x, 0, size * sizeof(IO));
  each_window(c, [&](int64_t row, int64_t column, int64_t offset) __attribute__((always_inline)) {
    each_vector(c.channels, [&](int64_t i, int64_t left) __attribute__((always_inline)) {
      vf grad = get((const IO*)c.grad_out + start + offset + i, left);
      vi which = __builtin_convertvector(fetch<vb>(c.places + start + offset + i, left), vi);
      each_pixel(c, row, column, [&](int64_t k, int64_t at) __attribute__((always_inline)) {
        vf share = pick(which == static_cast<int32_t>(k), grad, vf{});
        if (!apart) share = share + get(grad_x + at + i, left);
        put(grad_x + at + i, share, left);
      });
    });
  });
}

void forward(const PoolCall& c, int64_t image) {
  if (c.dtype == BFLOAT16) forward_as<bf16>(c, image);
  else forward_as<float>(c, image);
}
void backward(const PoolCall& c, int64_t image) {
  if (c.dtype == BFLOAT16) backward_as<bf16>(c, image);
  else backward_as<float>(c, image);
}

}  // namespace

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
#define JOINED(a, b) a##b
#define VARIANT(name) JOINED(pool_, name)
extern const PoolVariant VARIANT(ISA);
const PoolVariant VARIANT(ISA) = {TEXT(ISA), forward, backward};
