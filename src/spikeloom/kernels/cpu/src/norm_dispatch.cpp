// Batch norm and LIF: statistics, the passes over blocks of neurons, and what lies between them.
// Work is cut the same way for any number of threads, so results do not depend on it.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <new>
#include <vector>

#include "chosen.hpp"
#include "norm.hpp"
#include "threads.hpp"

#define EXPORT extern "C" __attribute__((visibility("default")))

extern const NormVariant norm_baseline;
#ifdef SPIKELOOM_X86
extern const NormVariant norm_avx2, norm_avx512;
#endif

namespace {

constexpr int64_t BLOCK = 4096;          // neurons
constexpr int64_t IN_CACHE = 96 * 1024;  // floats of recomputed potentials that fit into L2
constexpr int64_t TASKS = 64;            // pieces of work, each with sums of its own
constexpr int64_t ALONE = 128 * 1024;    // neuron updates below which threads cost more than they give
constexpr int64_t SAMPLES = 8;

const NormVariant& variant() {
#ifdef SPIKELOOM_X86
  static const NormVariant* const table[] = {&norm_avx512, &norm_avx2, &norm_baseline};
  return chosen_of(table, 3);
#else
  return norm_baseline;
#endif
}

struct Job {
  const NormCall& call;
  NormBlock run;
  const float* numbers;
  int64_t block, blocks, tasks, rows, width;
  std::vector<double> sums;
  std::atomic<bool> failed{false};
};

void run_task(void* data, int64_t task) {
  Job& job = *static_cast<Job*>(data);
  const int64_t neurons = job.call.neuron.neurons;
  const int64_t end = job.blocks * (task + 1) / job.tasks;
  for (int64_t index = job.blocks * task / job.tasks; index < end; ++index) {
    const int64_t first = index * job.block, count = std::min(job.block, neurons - first);
    float* floats = scratch(scratch_row(count) * job.rows);
    if (!floats) {
      job.failed = true;
      return;
    }
    job.run(job.call, job.numbers, first, count, floats, job.sums.data() + task * job.width);
  }
}

// One pass over all neurons. Returns two sums a channel, then one for each Value.
std::vector<double> pass(const NormCall& n, NormBlock run, const std::vector<float>& numbers,
                         bool again) {
  const Call& c = n.neuron;
  int64_t block = BLOCK;
  if (again) block = std::min(block, std::max(ALIGN, IN_CACHE / c.steps / ALIGN * ALIGN));
  const int64_t blocks = (c.neurons + block - 1) / block, tasks = std::min(blocks, TASKS);
  const int64_t width = 2 * n.channels + VALUES;
  Job job{n, run, numbers.data(), block, blocks, tasks, ROWS + (again ? c.steps : 0), width, {}};
  job.sums.assign(tasks * width, 0.0);
  share(c.steps * c.neurons < ALONE ? 1 : std::max(1, c.threads), tasks, run_task, &job);
  if (job.failed) throw std::bad_alloc();
  for (int64_t task = 1; task < tasks; ++task)
    for (int64_t i = 0; i < width; ++i) job.sums[i] += job.sums[task * width + i];
  job.sums.resize(width);
  return std::move(job.sums);
}

float read(const Call& c, int64_t t, int64_t m) {
  const int64_t at = t * c.x_stride + m;
  if (c.dtype == FLOAT32) return static_cast<const float*>(c.x)[at];
  const uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(c.x)[at]) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Roughly the mean of every channel: squares of what is left lose no digits.
std::vector<float> rough_means(const NormCall& n) {
  const Call& c = n.neuron;
  const int64_t in_channel = c.neurons / n.channels;
  std::vector<float> means(n.channels, 0.0f);
  for (int64_t k = 0; k < SAMPLES; ++k) {
    const int64_t p = k * in_channel / SAMPLES, t = k * 5 % SAMPLES * c.steps / SAMPLES;
    const int64_t m = p / n.inner * n.inner * n.channels + p % n.inner;
    for (int64_t channel = 0; channel < n.channels; ++channel)
      means[channel] += read(c, t, m + channel * n.inner) / SAMPLES;
  }
  for (float& mean : means)
    if (!std::isfinite(mean)) mean = 0.0f;
  return means;
}

void take_statistics(const NormCall& n) {
  const std::vector<float> shift = rough_means(n);
  const std::vector<double> sums = pass(n, variant().moments, shift, false);
  const int64_t steps = n.neuron.x_stride == 0 ? 1 : n.neuron.steps;
  const double count = static_cast<double>(n.neuron.neurons / n.channels * steps);
  for (int64_t channel = 0; channel < n.channels; ++channel) {
    const double away = sums[channel] / count;
    const double var = sums[n.channels + channel] / count - away * away;
    n.mean[channel] = static_cast<float>(shift[channel] + away);
    n.var[channel] = static_cast<float>(var < 0 ? 0 : var);
  }
}

float inverse_spread(const NormCall& n, int64_t channel) {
  return 1.0f / std::sqrt(n.var[channel] + n.eps);
}

// Rows scale, offset and mean: y = scale x + offset.
std::vector<float> affine(const NormCall& n) {
  const int64_t C = n.channels;
  std::vector<float> numbers(3 * C);
  for (int64_t channel = 0; channel < C; ++channel) {
    const float weight = n.weight ? n.weight[channel] : 1.0f;
    const float scale = inverse_spread(n, channel) * weight;
    numbers[channel] = scale;
    numbers[C + channel] = (n.bias ? n.bias[channel] : 0.0f) - n.mean[channel] * scale;
    numbers[2 * C + channel] = n.mean[channel];
  }
  return numbers;
}

// The gradient's way through mean and variance.
void through_statistics(const NormCall& n, const std::vector<float>& by,
                        const std::vector<double>& sums) {
  const int64_t C = n.channels;
  const double count = static_cast<double>(n.neuron.neurons / C * n.neuron.steps);
  std::vector<float> numbers(4 * C);
  for (int64_t channel = 0; channel < C; ++channel) {
    const double scale = by[channel], inverse = inverse_spread(n, channel);
    numbers[channel] = by[channel];
    numbers[C + channel] = n.mean[channel];
    numbers[2 * C + channel] =
        static_cast<float>(scale * inverse * inverse * sums[C + channel] / count);
    numbers[3 * C + channel] = static_cast<float>(scale * sums[channel] / count);
  }
  pass(n, variant().through, numbers, false);
}

void give(const Value& value, double sum) {
  if (value.grad && !(value.data && value.count > 1)) *value.grad = static_cast<float>(sum);
}

}  // namespace

// 0, or 1 if memory ran out.
EXPORT int spikeloom_norm_forward(const NormCall* n) try {
  if (n->batch) take_statistics(*n);
  pass(*n, variant().forward, affine(*n), false);
  return 0;
} catch (const std::bad_alloc&) {
  return 1;
}

EXPORT int spikeloom_norm_backward(const NormCall* n) try {
  const int64_t C = n->channels;
  const std::vector<float> by = affine(*n);
  const std::vector<double> sums = pass(*n, variant().backward, by, true);
  for (int64_t channel = 0; channel < C; ++channel) {
    if (n->grad_bias) n->grad_bias[channel] = static_cast<float>(sums[channel]);
    if (n->grad_weight)
      n->grad_weight[channel] =
          static_cast<float>(sums[C + channel] * inverse_spread(*n, channel));
  }
  if (n->batch && n->neuron.grad_x) through_statistics(*n, by, sums);
  give(n->neuron.leak.keep, sums[2 * C + KEEP]);
  give(n->neuron.threshold, sums[2 * C + THRESHOLD]);
  return 0;
} catch (const std::bad_alloc&) {
  return 1;
}

EXPORT int64_t spikeloom_norm_size() { return sizeof(NormCall); }
