// What a run of steps does to the value that enters it, in a few numbers: what makes slices of time independent.
// analysis/scan.py has the proof that these maps are closed under composition, and the same letters.
//
//     forward, ReLU and identity:     h  → min(hi, max(lo, s h + c))        Clamp
//     backward, every activation:     dz → s dz + c                         Affine       (the slopes are known by then)
//
// s is a product of many factors. It is double also for float: in float its rounding goes one way at every step where
// the factors are equal, as they are here, and would add up over the slices. Forward it is u^n, the same for all runs.
//
// A map may stand for its run only while nothing in the run can overflow: the loop may stay finite where a product of
// slopes does not, and inf and NaN must appear where the loop has them. So a map is tame if every s and every c on the
// way, before the activation and after it, is less than LARGE, and it is applied to values less than SMALL only. Then
// s h + c stays below LARGE · SMALL + LARGE on the way. A value that a clamp set to 0 is c − s' c' some steps later,
// where c' is the c at that clamp and s' the product since: below LARGE² + LARGE. All are finite. A map that is not tame
// has a NaN for its c. A run whose map may not stand for it is run again, step by step, from what enters it.

#define LARGE (sizeof(real) == 4 ? 0x1p60 : 0x1p480)
#define SMALL (sizeof(real) == 4 ? 0x1p30 : 0x1p240)

// Whether no product of the slopes and the recurrent weights of `steps` steps can reach LARGE; false for a NaN.
__device__ __forceinline__ bool slopes_are_tame(const Column& column, int steps) {
    const double gain = fabs((double)column.u) * column.activation.steepest();
    double all = gain;
    for (int j = 1; j < steps; ++j) { all *= gain; }
    return gain < LARGE && all < LARGE;
}

__device__ __forceinline__ real largest(real x, real y) { return y > x ? y : x; }  // x where y is a NaN

struct Affine { double s; real c; };  // dz → s dz + c

// A run of backward that is being composed.
struct Backward {
    double s;
    real c, most;  // most: the largest |c| before the activation, which multiplies it by at most the steepest slope

    __device__ __forceinline__ void then(const Column& column, real dh, real h, real a, real h_prev) {  // (iii), (iv)
        const real g = column.g(dh, c);
        s = column.pull(product((double)column.u, s), h, a, h_prev);
        c = column.pull(g, h, a, h_prev);
        most = largest(most, magnitude(g));
    }

    __device__ __forceinline__ Affine map(const Column& column, bool slopes_tame) const {
        return {s, slopes_tame && most * column.activation.steepest() < LARGE ? c : -infinity() + infinity()};
    }
};

// Replaces dz by what the run makes of it; false, and nothing, where the map may not stand for the run.
__device__ __forceinline__ bool apply(const Affine& map, real& dz) {
    if (is_nan(map.c) || !(magnitude(dz) < SMALL)) return false;
    dz = real(map.s * dz + map.c);
    return true;
}

struct Clamp { real c, lo, hi; };  // h → min(hi, max(lo, s h + c))

// A run of forward that is being composed. (Where u = 0, 0 · inf makes the ends NaN, which clamp nothing; what the map
// then gives may be wrong, but is finite, and the next step multiplies it by that u.)
struct Forward {
    real c, lo, hi, most;

    __device__ __forceinline__ void then(const Column& column, real a) {                                // (i), (ii)
        const real one = column.step(a, lo), other = column.step(a, hi);
        lo = column.u < real(0) ? other : one;
        hi = column.u < real(0) ? one : other;
        c = column.z(a, c);
        most = largest(most, magnitude(c));
    }

    __device__ __forceinline__ Clamp map(bool slopes_tame) const {
        return {slopes_tame && most < LARGE ? c : -infinity() + infinity(), lo, hi};
    }
};

// Replaces h, as above; s = u^n.
__device__ __forceinline__ bool apply(const Clamp& map, double s, real& h) {
    if (is_nan(map.c) || !(magnitude(h) < SMALL)) return false;
    const real y = real(s * h + map.c);
    h = y < map.lo ? map.lo : y > map.hi ? map.hi : y;
    return true;
}
