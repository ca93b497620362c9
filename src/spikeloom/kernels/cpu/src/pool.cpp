// Memory for large tensors that is kept when they die and handed out again: pages that the system
// has to give afresh cost several times what a kernel does with them.
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <vector>


#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <sys/mman.h>
#define MAPPED 1
constexpr bool PARTS = true;  // of a mapping may go back to the system
#else
constexpr bool PARTS = false;
#endif
#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

constexpr size_t PAGE = 64 * 1024;

struct Piece {
  void* data;
  size_t size;
  void* origin;  // what it was mapped with: parts of one mapping grow together again

  bool continues(const Piece& other) const {
    return origin == other.origin && data == static_cast<char*>(other.data) + other.size;
  }
};

void* from_system(size_t size) {
#ifdef MAPPED
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return data == MAP_FAILED ? nullptr : data;
#else
  return std::aligned_alloc(64, size);
#endif
}
void to_system(Piece piece) {
#ifdef MAPPED
  munmap(piece.data, piece.size);
#else
  std::free(piece.data);
#endif
}

class Pool {
 public:
  // Best fit among what is free: wasting a quarter at most, or a part of a piece of two to four
  // times the size.
  Piece take(size_t wanted) {
    wanted = (wanted + PAGE - 1) / PAGE * PAGE;
    Piece piece{nullptr, wanted, nullptr};
    {
      std::lock_guard<std::mutex> lock(mutex);
      size_t best = free_pieces.size();
      for (size_t i = 0; i < free_pieces.size(); ++i) {
        const size_t size = free_pieces[i].size;
        const bool fits = size >= wanted && size <= wanted + wanted / 4;
        const bool divides = PARTS && size >= 2 * wanted && size <= 4 * wanted;
        if ((fits || divides) &&
            (best == free_pieces.size() || size < free_pieces[best].size))
          best = i;
      }
      if (best < free_pieces.size()) piece = cut(best, wanted);
    }
    if (!piece.data) piece.origin = piece.data = from_system(wanted);
    if (!piece.data && shrink(0)) piece.origin = piece.data = from_system(wanted);
    if (poisoned && piece.data) std::memset(piece.data, 0xff, piece.size);
    return piece;
  }
  void give_back(Piece piece) {
    try {
      std::lock_guard<std::mutex> lock(mutex);
      free_pieces.reserve(free_pieces.size() + 1);
      held += piece.size;
      for (size_t i = free_pieces.size(); i-- > 0;) {
        const Piece other = free_pieces[i];
        if (!piece.continues(other) && !other.continues(piece)) continue;
        piece = {piece.continues(other) ? other.data : piece.data, piece.size + other.size,
                 piece.origin};
        free_pieces.erase(free_pieces.begin() + i);
      }
      free_pieces.push_back(piece);
    } catch (const std::bad_alloc&) {
      return to_system(piece);
    }
    shrink(limit);
  }
  // Hands the longest unused pieces to the system until `most` bytes are left; returns what went.
  size_t shrink(size_t most) {
    std::lock_guard<std::mutex> lock(mutex);
    size_t before = held, gone = 0;
    while (held > most) {
      to_system(free_pieces[gone]);
      held -= free_pieces[gone++].size;
    }
    free_pieces.erase(free_pieces.begin(), free_pieces.begin() + gone);
    return before - held;
  }

  // Takes the start of a free piece, or all of it if little would be left.
  Piece cut(size_t index, size_t wanted) {
    Piece whole = free_pieces[index];
    if (whole.size < 2 * wanted) {
      free_pieces.erase(free_pieces.begin() + index);
      wanted = whole.size;
    } else {
      free_pieces[index] = {static_cast<char*>(whole.data) + wanted, whole.size - wanted,
                            whole.origin};
    }
    held -= wanted;
    return {whole.data, wanted, whole.origin};
  }

  std::mutex mutex;
  std::vector<Piece> free_pieces;  // longest unused first
  size_t held = 0, limit = size_t{2} << 30;
  bool poisoned = false;
};

// Never destroyed: tensors may die after the statics of the process.
Pool& pool() {
  static Pool& only = *new Pool;
  return only;
}

#ifdef MAPPED
void lock() { pool().mutex.lock(); }
void unlock() { pool().mutex.unlock(); }
const int registered = pthread_atfork(lock, unlock, unlock);
#endif

// The DLPack structures (version without flags), through which torch takes tensors over.
struct DLTensor {
  void* data;
  int32_t device_type, device_id, dimensions;
  uint8_t type_code, bits;
  uint16_t lanes;
  int64_t *shape, *strides;
  uint64_t byte_offset;
};
struct Managed {
  DLTensor tensor;
  void* context;
  void (*deleter)(Managed*);
};

struct Owned {
  Managed managed;
  Piece piece;
  std::vector<int64_t> shape, strides;
};

void bury(Managed* managed) {
  Owned* owned = static_cast<Owned*>(managed->context);
  pool().give_back(owned->piece);
  delete owned;
}

}  // namespace

// A tensor of uninitialised memory as a DLManagedTensor; null if there is no memory. `code` and
// `bits` are DLPack's for the type.
EXPORT void* spikeloom_tensor(const int64_t* shape, const int64_t* strides, int dimensions,
                              int64_t bytes, int code, int bits) try {
  Piece piece = pool().take(static_cast<size_t>(bytes));
  if (!piece.data) return nullptr;
  Owned* owned = new Owned{{}, piece, {shape, shape + dimensions}, {strides, strides + dimensions}};
  owned->managed.tensor = {piece.data, 1, 0, dimensions, static_cast<uint8_t>(code),
                           static_cast<uint8_t>(bits), 1, owned->shape.data(),
                           owned->strides.data(), 0};
  owned->managed.context = owned;
  owned->managed.deleter = bury;
  return &owned->managed;
} catch (const std::bad_alloc&) {
  return nullptr;
}

EXPORT int64_t spikeloom_pool_size() {
  std::lock_guard<std::mutex> lock(pool().mutex);
  return static_cast<int64_t>(pool().held);
}
EXPORT int64_t spikeloom_pool_shrink(int64_t most) {
  return static_cast<int64_t>(pool().shrink(static_cast<size_t>(most)));
}
EXPORT void spikeloom_pool_limit(int64_t bytes) {
  pool().limit = static_cast<size_t>(bytes);
  pool().shrink(pool().limit);
}
// Fresh memory is NaN: whatever a kernel forgets to write shows. For tests.
EXPORT void spikeloom_pool_poison(int on) { pool().poisoned = on != 0; }
