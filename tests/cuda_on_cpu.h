// Runs CUDA kernels on the CPU, for tests: what they need of CUDA, in the words of C++. cuda_on_cpu.py puts it before a
// kernel's source, and an EXPORT for each kernel behind.
//
// Blocks run one after another, from the one called `first`. The threads of a block run one after another too, each to
// its end, in a kernel that has no barrier. With barriers (SYNCHRONISES) each is a fiber that runs to the barrier, where
// the next one takes over; a thread that leaves while others wait is an error. With THREADS each is a thread of the
// system, so that ThreadSanitizer sees what two of them do to the same memory without a barrier between.
// The order in which the threads of a block run is `shuffle`: forward, backward, or mixed; with THREADS the system's. A
// right kernel does not notice.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#ifdef THREADS
#include <pthread.h>
#elif defined(SYNCHRONISES)
#include <ucontext.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#endif
#ifdef FLUSH
#include <xmmintrin.h>
#endif

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(...)
#define __forceinline__ inline

struct Triple { unsigned x, y, z; };
inline thread_local Triple threadIdx, blockIdx;
inline Triple blockDim, gridDim;

// <cmath> would make more than half of a compilation.
#define OF_BOTH(name) \
    extern "C" double name(double) noexcept; \
    extern "C" float name##f(float) noexcept; \
    inline float name(float x) { return name##f(x); }
OF_BOTH(exp) OF_BOTH(expm1) OF_BOTH(log1p) OF_BOTH(tanh) OF_BOTH(fabs)
static inline int __float_as_int(float x) { int i; memcpy(&i, &x, 4); return i; }
static inline double __longlong_as_double(long long i) { double x; memcpy(&x, &i, 8); return x; }

namespace cpu {

inline int shuffle = 0;

[[noreturn]] inline void die(const char* what) {
    fprintf(stderr, "cuda_on_cpu: %s (block %u, thread %u, %u)\n", what, blockIdx.x, threadIdx.x, threadIdx.y);
    abort();
}

inline unsigned threads() { return blockDim.x * blockDim.y; }
inline void become(unsigned i) { threadIdx = {i % blockDim.x, i / blockDim.x, 0}; }

// The k-th of n to run.
inline unsigned ordered(unsigned k, unsigned n) {
    if (shuffle == 0) return k;
    if (shuffle == 1) return n - 1 - k;
    return (unsigned)((k * 2654435761ull + shuffle) % n);  // a permutation, for the factor is a prime above n
}

#if defined(THREADS)
// Two barriers, in turn. To ThreadSanitizer, who leaves a barrier has seen all that its last arrivals did; of one barrier
// that would be what the fastest thread did before the next time, long after, and a race with that would go unseen.
inline pthread_barrier_t barriers[2];
inline thread_local unsigned passed;
inline void synchronise() { pthread_barrier_wait(&barriers[passed++ % 2]); }
template <class F> struct Start { F* kernel; Triple block; unsigned thread; };
template <class F> void* run_thread(void* given) {
    const auto& start = *(Start<F>*)given;
    blockIdx = start.block;
    become(start.thread);
    (*start.kernel)();
    return nullptr;
}
template <class F> void run_block(F kernel) {
    static pthread_t all[1024];
    static Start<F> starts[1024];
    for (auto& barrier : barriers) { pthread_barrier_init(&barrier, nullptr, threads()); }
    for (unsigned i = 0; i < threads(); ++i) {
        starts[i] = {&kernel, blockIdx, i};
        if (pthread_create(&all[i], nullptr, run_thread<F>, &starts[i])) die("no more threads");
    }
    for (unsigned i = 0; i < threads(); ++i) { pthread_join(all[i], nullptr); }
    for (auto& barrier : barriers) { pthread_barrier_destroy(&barrier); }
}
#elif defined(SYNCHRONISES)
enum class State { ready, waiting, done };
constexpr size_t STACK = 256 << 10;
struct Fiber { ucontext_t context; State state; unsigned thread; char* stack; void* shadow; };
inline Fiber fibers[1024];
inline Fiber* running;
inline ucontext_t scheduler;
inline void (*enter)();
#if defined(__SANITIZE_ADDRESS__)
inline const void* home; inline size_t home_size; inline void* home_shadow;
#define LEAVING(save, bottom, size) __sanitizer_start_switch_fiber(save, bottom, size)
#define ARRIVED(shadow, bottom, size) __sanitizer_finish_switch_fiber(shadow, bottom, size)
#else
#define LEAVING(save, bottom, size)
#define ARRIVED(shadow, bottom, size)
#endif

inline void leave(State state) {
    Fiber* me = running;
    me->state = state;
    LEAVING(state == State::done ? nullptr : &me->shadow, home, home_size);
    swapcontext(&me->context, &scheduler);
    ARRIVED(me->shadow, &home, &home_size);
}
inline void synchronise() { leave(State::waiting); }
inline void start() {
    ARRIVED(nullptr, &home, &home_size);
    enter();
    leave(State::done);
}
inline void resume(Fiber& fiber) {
    running = &fiber;
    become(fiber.thread);
    LEAVING(&home_shadow, fiber.stack, STACK);
    swapcontext(&scheduler, &fiber.context);
    ARRIVED(home_shadow, nullptr, nullptr);
}
inline void prepare(Fiber& fiber, unsigned thread) {
    if (!fiber.stack) { fiber.stack = (char*)malloc(STACK); }
    fiber.thread = thread;
    fiber.state = State::ready;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack;
    fiber.context.uc_stack.ss_size = STACK;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, start, 0);
}
template <class F> void run_block(F kernel) {
    static F* current;
    current = &kernel;
    enter = [] { (*current)(); };
    const unsigned n = threads();
    for (unsigned i = 0; i < n; ++i) { prepare(fibers[i], i); }
    for (;;) {
        unsigned done = 0;
        for (unsigned k = 0; k < n; ++k) {
            Fiber& fiber = fibers[ordered(k, n)];
            if (fiber.state != State::done) { resume(fiber); }
            done += fiber.state == State::done;
        }
        if (done == n) return;
        if (done) die("a thread left the kernel while others wait in __syncthreads");
    }
}
#else
inline void synchronise() { die("__syncthreads in a kernel that was said to have none"); }
template <class F> void run_block(F kernel) {
    for (unsigned k = 0; k < threads(); ++k) { become(ordered(k, threads())); kernel(); }
}
#endif

template <class... P, size_t... I>
void launch(void (*kernel)(P...), unsigned first, const unsigned* grid, const unsigned* block, void** arguments,
            std::index_sequence<I...>) {
    gridDim = {grid[0], 1, 1};
    blockDim = {block[0], block[1], 1};
    if (threads() == 0 || threads() > 1024) die("expected 1 to 1024 threads in a block");
#ifdef FLUSH
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);  // subnormal arguments and results are zero, as under -ftz=true
#endif
    for (unsigned x = first; x < grid[0]; ++x) {
        blockIdx = {x, 0, 0};
        run_block([=] { kernel(*static_cast<P*>(arguments[I])...); });
    }
#ifdef FLUSH
    _mm_setcsr(before);
#endif
}

}  // namespace cpu

#define __syncthreads() cpu::synchronise()
#define EXPORT(name) \
    template <class... P> static void launch_##name(void (*kernel)(P...), unsigned first, \
                                                    const unsigned* grid, const unsigned* block, void** arguments) { \
        cpu::launch(kernel, first, grid, block, arguments, std::index_sequence_for<P...>{}); \
    } \
    extern "C" void on_cpu_##name(unsigned first, const unsigned* grid, const unsigned* block, void** arguments) { \
        launch_##name(name, first, grid, block, arguments); \
    }
extern "C" void on_cpu_shuffle(int order) { cpu::shuffle = order; }
