// Numbers: what every kernel computes with, and how each operation rounds. Nothing here touches memory.
//
// The files of this folder include none another. `source` in cuda.py lays them one after the other: this one,
// activations.cuh and step.cuh, then those of one rung. `options` there says what REAL (float or double) and ACTIVATION
// are, and the sizes of a plan: AHEAD, or COLUMNS, SLICES and STEPS.
//
// CuPy compiles every kernel with -ftz=true, under which float32 arithmetic and comparisons take a subnormal number for
// zero. NumPy does not. So the recurrence's own operations are spelt out here as instructions that keep such numbers,
// and the sign is read off the bits. Nor is a product joined to a sum, which would round once where NumPy rounds twice:
// in float .rn forbids it, in double the launcher's -fmad=false. In the loop's order (plain, prefetch) h, dz and dh0
// are then equal to NumPy's in every bit wherever σ is piecewise linear. (Where σ is smooth, exp, tanh and their like
// and the arithmetic around them do flush: at most one smallest normal number an operation.)

typedef REAL real;
typedef long long int64;  // 64 bits: T·B·N passes 2^31

__device__ __forceinline__ double product(double x, double y) { return x * y; }
__device__ __forceinline__ double sum(double x, double y) { return x + y; }
__device__ __forceinline__ bool positive(double x) { return x > 0.0; }

#ifdef __CUDA_ARCH__
__device__ __forceinline__ float product(float x, float y) {
    float xy;
    asm("mul.rn.f32 %0, %1, %2;" : "=f"(xy) : "f"(x), "f"(y));
    return xy;
}
__device__ __forceinline__ float sum(float x, float y) {
    float both;
    asm("add.rn.f32 %0, %1, %2;" : "=f"(both) : "f"(x), "f"(y));
    return both;
}
#else  // a C++ compiler for the CPU: the same operations, by their usual names
__device__ __forceinline__ float product(float x, float y) { return x * y; }
__device__ __forceinline__ float sum(float x, float y) { return x + y; }
#endif
__device__ __forceinline__ bool positive(float x) { return __float_as_int(x) > 0; }  // of a NaN: what its sign bit says

__device__ __forceinline__ real infinity() { return real(__longlong_as_double(0x7ff0000000000000LL)); }
__device__ __forceinline__ bool is_nan(real x) { return x != x; }
__device__ __forceinline__ float magnitude(float x) { return fabsf(x); }
__device__ __forceinline__ double magnitude(double x) { return fabs(x); }
