// What a program on bits hands over. Python's mirror of these structures is sums.py.
//
// An activation lies as bits in units of 16 channels, channel c in bit c % 16 of unit c / 16:
// plane[image][y][x][unit], image = t * batch + n. Its value is the sum of 2^p times plane p.
#pragma once
#include "call.hpp"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "bits of neighbouring units are read as one word: needs a little-endian machine"
#endif

constexpr int64_t UNIT = 16;    // channels
constexpr int64_t WIDEST = 128; // channels of a block of weights
constexpr int64_t TILE = 32;    // pixels of a tile at most
constexpr int64_t GROUP = 8;    // channels whose words of signs lie side by side

enum OpKind : int32_t { SUM, COUNT, ANY, UNPACK };
enum SourceKind : int32_t { BITS, REALS };
// A value is added as it is, times rows of float weights, or times signs and the output's scale.
enum Weighted : int32_t { PLAIN, FLOATS, SIGNS };

struct Window {
  int32_t kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x, dilation_y, dilation_x;
};

struct Source {
  int32_t kind, weighted;  // PLAIN: `scale` times the value is added
  const void* data;
  int64_t planes, plane;   // how many (BITS), and units from one to the next
  int64_t height, width, channels;
  int64_t step, image, row, column, channel;  // strides: units (BITS) or floats (REALS)
  Window window;
  int64_t first_row;       // of the weights; rows go by tap, then channel
  float scale;
  const uint64_t* signs;   // [channel / GROUP][word of a window's bits][channel % GROUP]; set: +1
  const float* scales;     // of each output channel
  int64_t words;           // that the bits of a window take
};

// SUM: out = neuron(bias + sums over sources); COUNT: planes of the sum over windows of all sources;
// ANY: whether a bit is set in the window; UNPACK: floats [image][y][x][channel].
struct Op {
  int32_t kind, constant;  // constant: no source changes with time
  int32_t crowded;         // whether rows are added to a tile tap by tap, or pixel by pixel
  int64_t steps, batch, height, width, channels, planes, plane;
  const Source* sources;
  int64_t count;
  const float *weights, *bias;  // [block][row][block_width]; [blocks * block_width]
  int64_t rows, block_width, blocks;
  const Call* neuron;           // null: the sums themselves come out
  void* out;                    // bits, or floats at these strides with channels side by side
  int64_t step, image, row, column;
  int64_t tasks, pixels;        // pieces of work, and output pixels in each
  int64_t tile;                 // pixels whose sums grow together; 0: one after the other
};

// Does one piece of an op's work; false if there is no memory.
using Piece = bool (*)(const Op&, int64_t index);

struct SumsVariant {
  const char* name;
  Piece piece;
};
