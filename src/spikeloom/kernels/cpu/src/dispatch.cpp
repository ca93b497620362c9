// Picks the instruction set once and cuts a call into blocks of neurons.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "call.hpp"
#include "threads.hpp"

#define EXPORT extern "C" __attribute__((visibility("default")))

extern const Variant variant_baseline;
#ifdef SPIKELOOM_X86
extern const Variant variant_avx2, variant_avx512;
#endif

namespace {

constexpr int64_t BLOCK = 16384;          // neurons: long runs suit the prefetcher
constexpr int64_t TRACES = 96 * 1024;     // floats of recomputed traces that fit into L2
constexpr int64_t ALONE = 128 * 1024;     // neuron updates below which threads cost more than they give

std::vector<const Variant*> runnable() {
  std::vector<const Variant*> found;
#ifdef SPIKELOOM_X86
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    found.push_back(&variant_avx512);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    found.push_back(&variant_avx2);
#endif
  found.push_back(&variant_baseline);
  return found;
}

std::atomic<const Variant*>& chosen() {
  static std::atomic<const Variant*> variant{runnable().front()};
  return variant;
}

struct Job {
  const Call& call;
  Block run;
  int64_t block, trace_rows;
  std::vector<double> sums;
  std::atomic<bool> failed{false};
};

void run_block(void* data, int64_t index) {
  Job& job = *static_cast<Job*>(data);
  int64_t first = index * job.block;
  int64_t count = std::min(job.block, job.call.neurons - first);
  float* floats = scratch(scratch_row(count) * (ROWS + job.trace_rows));
  if (!floats) {
    job.failed = true;
    return;
  }
  job.run(job.call, first, count, floats, job.sums.data() + index * VALUES);
}

int64_t block_size(const Call& c, int threads, bool again) {
  int64_t block = std::min(BLOCK, (c.neurons + threads - 1) / threads);
  if (again) block = std::min(block, std::max(ALIGN, TRACES / (c.steps * traces(c))));
  return again && block > ALIGN ? block / ALIGN * ALIGN : scratch_row(block);
}

void add_up(const Value& value, const std::vector<double>& sums, int which) {
  if (!value.grad || (value.data && value.count > 1)) return;
  double total = 0;
  for (size_t i = which; i < sums.size(); i += VALUES) total += sums[i];
  *value.grad = static_cast<float>(total);
}

// 0, or 1 if memory ran out.
int run(const Call& c, Block block_function, bool again) try {
  int threads = c.steps * c.neurons < ALONE ? 1 : std::max(1, c.threads);
  int64_t block = block_size(c, threads, again);
  int64_t blocks = (c.neurons + block - 1) / block;
  Job job{c, block_function, block, again ? c.steps * traces(c) : 0, {}};
  job.sums.assign(blocks * VALUES, 0.0);
  share(threads, blocks, run_block, &job);
  if (job.failed) return 1;
  add_up(c.leak.keep, job.sums, KEEP);
  add_up(c.second.keep, job.sums, SECOND);
  add_up(c.threshold, job.sums, THRESHOLD);
  add_up(c.beta, job.sums, BETA);
  return 0;
} catch (const std::bad_alloc&) {
  return 1;
}

}  // namespace

EXPORT int spikeloom_forward(const Call* call) {
  return run(*call, chosen().load()->forward, false);
}

EXPORT int spikeloom_backward(const Call* call) {
  bool again = call->trace == NOTHING && (call->kind != LI || call->leak.keep.grad);
  return run(*call, chosen().load()->backward, again);
}

// The instruction set in use; with a name, first changes to it if this machine can. For tests.
EXPORT const char* spikeloom_variant(const char* name) {
  if (name)
    for (const Variant* variant : runnable())
      if (!std::strcmp(variant->name, name)) chosen() = variant;
  return chosen().load()->name;
}

EXPORT int64_t spikeloom_call_size() { return sizeof(Call); }

#ifndef SPIKELOOM_SOURCES
#define SPIKELOOM_SOURCES ""
#endif
// Digest of the sources this was built from.
EXPORT const char* spikeloom_sources() { return SPIKELOOM_SOURCES; }
