// Cuts products of spikes and weights into pieces for the threads.
#include "products.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "threads.hpp"

#define EXPORT extern "C" __attribute__((visibility("default")))

extern const Sparse sparse_baseline;
extern const Recurrence recurrence_baseline;
#ifdef SPIKELOOM_X86
extern const Sparse sparse_avx2, sparse_avx512;
extern const Recurrence recurrence_avx2, recurrence_avx512;
#endif
EXPORT const char* spikeloom_variant(const char* name);

namespace {

constexpr int NO_MEMORY = 1, NOT_FINITE = 2;
constexpr int64_t SAMPLES = 32;          // of a task: enough rows for each look at the weights
constexpr int64_t AGAIN = 4 << 20;       // floats of potentials that are gone through again
constexpr int64_t CHUNK = 1024;          // rows of sums
constexpr int64_t ALONE = 1 << 18;       // numbers below which threads cost more than they give
constexpr int64_t EXTRA = 16;            // rows of scratch besides those of the steps

struct Set {
  const Sparse& sparse;
  const Recurrence& recurrence;
};

Set chosen() {
#ifdef SPIKELOOM_X86
  const char* name = spikeloom_variant(nullptr);
  if (!std::strcmp(name, sparse_avx512.name)) return {sparse_avx512, recurrence_avx512};
  if (!std::strcmp(name, sparse_avx2.name)) return {sparse_avx2, recurrence_avx2};
#endif
  return {sparse_baseline, recurrence_baseline};
}

struct Free {
  void operator()(float* block) const { std::free(block); }
};
using Floats = std::unique_ptr<float, Free>;

Floats floats(int64_t count) {
  size_t bytes = (static_cast<size_t>(count) * sizeof(float) + 63) / 64 * 64;
  return Floats(static_cast<float*>(std::aligned_alloc(64, bytes)));
}

struct Job {
  explicit Job(const Recurrent& recurrent) : call(recurrent), set(chosen()) {}
  const Recurrent& call;
  const Set set;
  int64_t samples = 0;  // of a task
  int64_t scratch_rows = EXTRA;
  Floats forward_panels, panels;
  std::vector<double> sums;
  std::atomic<bool> finite{true}, failed{false};
  int64_t panel_floats() const { return set.sparse.panel * call.width; }
};

void make_panel(void* data, int64_t index) {
  Job& job = *static_cast<Job*>(data);
  const int64_t offset = index * job.panel_floats();
  if (job.forward_panels &&
      !job.set.recurrence.panel(job.call, true, index, job.forward_panels.get() + offset))
    job.finite = false;
  if (job.panels) job.set.recurrence.panel(job.call, false, index, job.panels.get() + offset);
}

void run_samples(void* data, int64_t index) {
  Job& job = *static_cast<Job*>(data);
  const Recurrent& r = job.call;
  const int64_t first = index * job.samples, some = std::min(job.samples, r.rows - first);
  float* rows = scratch(scratch_row(some * r.width) * job.scratch_rows);
  if (!rows) {
    job.failed = true;
    return;
  }
  const float *ahead = job.forward_panels.get(), *back = job.panels.get();
  if (back)
    job.set.recurrence.backward(r, ahead, back, !job.finite, first, some, rows,
                                job.sums.data() + index * VALUES);
  else
    job.set.recurrence.forward(r, ahead, !job.finite, first, some, rows);
}

void add_up(const Value& value, const std::vector<double>& sums, int which) {
  if (!value.grad || (value.data && value.count > 1)) return;
  double total = 0;
  for (size_t i = which; i < sums.size(); i += VALUES) total += sums[i];
  *value.grad = static_cast<float>(total);
}

int run(Job& job, bool ahead, bool back) {
  const Recurrent& r = job.call;
  const int64_t panels = (r.width + job.set.sparse.panel - 1) / job.set.sparse.panel;
  if (ahead) job.forward_panels = floats(panels * job.panel_floats());
  if (back) job.panels = floats(panels * job.panel_floats());
  if ((ahead && !job.forward_panels) || (back && !job.panels)) return NO_MEMORY;
  const int64_t work = r.neuron.steps * r.neuron.neurons;
  const int threads = work < ALONE / 8 ? 1 : std::max(1, r.neuron.threads);
  share(work < ALONE ? 1 : threads, panels, make_panel, &job);
  job.samples = std::min(SAMPLES, (r.rows + threads - 1) / threads);
  if (job.scratch_rows > EXTRA)
    job.samples = std::max<int64_t>(
        1, std::min(job.samples, AGAIN / (r.width * (job.scratch_rows - EXTRA))));
  const int64_t tasks = (r.rows + job.samples - 1) / job.samples;
  job.sums.assign(tasks * VALUES, 0.0);
  share(threads, tasks, run_samples, &job);
  return job.failed ? NO_MEMORY : 0;
}

struct Summing {
  const Gather& call;
  const Sparse& sparse;
  int64_t chunks, chunk;
  std::atomic<bool> finite{true}, failed{false};
};

void sum_some(void* data, int64_t index) {
  Summing& job = *static_cast<Summing*>(data);
  const int64_t first = index % job.chunks * job.chunk;
  const int64_t rows = std::min(job.chunk, job.call.rows - first);
  float* room = scratch((DEPTH + rows) * job.sparse.panel);
  if (!room) job.failed = true;
  else if (!job.sparse.gather(job.call, index / job.chunks * job.sparse.panel, first, rows, room))
    job.finite = false;
}

struct Packing {
  const Pack& call;
  const Sparse& sparse;
  int64_t chunk;
  std::atomic<int64_t> ones{0};
  std::atomic<bool> others{false};
};

void pack_some(void* data, int64_t index) {
  Packing& job = *static_cast<Packing*>(data);
  const int64_t first = index * job.chunk, rows = std::min(job.chunk, job.call.rows - first);
  if (job.others) return;
  const int64_t ones = job.sparse.pack(job.call, first, rows);
  if (ones < 0) job.others = true;
  else job.ones += ones;
}

// A square of bits, rows to columns: ever smaller quarters change places.
void transpose(uint64_t (&square)[WORD]) {
  uint64_t low = 0xffffffff;
  for (int half = WORD / 2; half; half /= 2, low ^= low << half)
    for (int base = 0; base < WORD; base += 2 * half)
      for (int row = base; row < base + half; ++row) {
        const uint64_t moved = (square[row] >> half ^ square[row + half]) & low;
        square[row] ^= moved << half;
        square[row + half] ^= moved;
      }
}

struct Turn {
  const uint64_t* from;
  uint64_t* to;
  int64_t rows, words, columns, to_words;
};

void turn_words(void* data, int64_t index) {
  const Turn& job = *static_cast<Turn*>(data);
  for (int64_t word = 0; word < job.words; ++word) {
    uint64_t square[WORD];
    for (int64_t k = 0; k < WORD; ++k) {
      const int64_t row = index * WORD + k;
      square[k] = row < job.rows ? job.from[row * job.words + word] : 0;
    }
    transpose(square);
    for (int64_t k = 0; k < WORD && word * WORD + k < job.columns; ++k)
      job.to[(word * WORD + k) * job.to_words + index] = square[k];
  }
}

}  // namespace

// 0, or NO_MEMORY.
EXPORT int spikeloom_recurrent_forward(const Recurrent* call) try {
  Job job{*call};
  return run(job, true, false);
} catch (const std::bad_alloc&) {
  return NO_MEMORY;
}

EXPORT int spikeloom_recurrent_backward(const Recurrent* call) try {
  const Call& c = call->neuron;
  Job job{*call};
  const bool again = !c.saved;
  if (again) job.scratch_rows += c.steps * (c.leak.keep.grad ? 2 : 1);
  const int result = run(job, again, true);
  if (result) return result;
  add_up(c.leak.keep, job.sums, KEEP);
  add_up(c.threshold, job.sums, THRESHOLD);
  return 0;
} catch (const std::bad_alloc&) {
  return NO_MEMORY;
}

// 0, NO_MEMORY, or NOT_FINITE: then a product has 0 times infinity where this leaves out the term.
EXPORT int spikeloom_gather(const Gather* call) {
  const Gather& g = *call;
  Summing job{g, chosen().sparse, 1, g.rows};
  const int64_t panels = (g.columns + job.sparse.panel - 1) / job.sparse.panel;
  const int threads = g.rows * g.columns < ALONE / 4 ? 1 : std::max(1, g.threads);
  const int64_t pieces = (4 * threads + panels - 1) / panels;  // so that no thread waits for long
  job.chunk = std::min(CHUNK, std::max(4 * WORD, (g.rows + pieces - 1) / pieces));
  job.chunks = (g.rows + job.chunk - 1) / job.chunk;
  share(threads, panels * job.chunks, sum_some, &job);
  return job.failed ? NO_MEMORY : job.finite ? 0 : NOT_FINITE;
}

// How many numbers are 1, or -1 if there are others than 0 and 1.
EXPORT int64_t spikeloom_pack_rows(const Pack* call) {
  Packing job{*call, chosen().sparse, std::max<int64_t>(1, ALONE / 8 / call->columns)};
  const int threads = call->rows * call->columns < ALONE ? 1 : std::max(1, call->threads);
  share(threads, (call->rows + job.chunk - 1) / job.chunk, pack_some, &job);
  return job.others ? -1 : job.ones.load();
}

// Bits [rows, words of columns] -> [columns, words of rows].
EXPORT void spikeloom_transpose_bits(const uint64_t* from, uint64_t* to, int64_t rows,
                                     int64_t columns, int32_t threads) {
  Turn job{from, to, rows, words_of(columns), columns, words_of(rows)};
  share(rows * columns < 64 * ALONE ? 1 : std::max(1, threads), job.to_words, turn_words, &job);
}

EXPORT int64_t spikeloom_recurrent_size() { return sizeof(Recurrent); }

// Whether the processor is one on which torch's products of float32 are slow (they go to MKL).
EXPORT int spikeloom_amd() {
#ifdef SPIKELOOM_X86
  return __builtin_cpu_is("amd") ? 1 : 0;
#else
  return 0;
#endif
}
