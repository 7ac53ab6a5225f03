// Batch normalisation in training and the activation after it, on a CPU, in two passes each way; teinet.kernels.cpu
// calls it. Apart, normalisation, activation and the copies that they keep pass over memory twice as often.
//
// x, dy, y, dx: (M, C), a picture's pixels as rows, channels last, float.  All others: (C,) float, but for the sums:
// (chunks, 2, C) double, those of each chunk of rows.
//
// Results are independent of the number of threads.

#include <algorithm>
#include <cstdint>
#include <vector>

namespace {

constexpr int64_t ROWS = 256;  // whose sums are kept in single precision

inline float clamped(float z, float low, float high) { return std::min(std::max(z, low), high); }  // NaN stays

inline float passed(float d, float z, float low, float high) { return (z <= low) | (z >= high) ? 0.0f : d; }

// Adds, for each row of `rows`, the two terms of each channel to sums (2, C).
template <typename Terms>
void add_up(int64_t begin, int64_t end, int64_t C, double* sums, Terms terms) {
    std::vector<float> near(2 * C);
    float *s = near.data(), *q = s + C;
    std::fill(sums, sums + 2 * C, 0.0);
    for (int64_t first = begin; first < end; first += ROWS) {
        std::fill(near.begin(), near.end(), 0.0f);
        const int64_t last = std::min(end, first + ROWS);
        int64_t row = first;
        for (; row + 4 <= last; row += 4) {
#pragma omp simd
            for (int64_t c = 0; c < C; ++c) {
                float a = 0, b = 0;
                for (int64_t i = 0; i < 4; ++i) terms((row + i) * C + c, c, a, b);
                s[c] += a;
                q[c] += b;
            }
        }
        for (; row < last; ++row) {
#pragma omp simd
            for (int64_t c = 0; c < C; ++c) terms(row * C + c, c, s[c], q[c]);
        }
        for (int64_t c = 0; c < 2 * C; ++c) sums[c] += near[c];
    }
}

}  // namespace

// Sums of x - origin and of its square.
extern "C" void batch_norm_moments_float32(const float* x, const float* origin, double* sums, int64_t rows, int64_t C,
                                           int64_t chunks, int threads) {
    const int64_t length = (rows + chunks - 1) / chunks;
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t chunk = 0; chunk < chunks; ++chunk)
        add_up(chunk * length, std::min(rows, (chunk + 1) * length), C, sums + chunk * 2 * C,
               [=](int64_t at, int64_t c, float& s, float& q) {
                   const float d = x[at] - origin[c];
                   s += d;
                   q += d * d;
               });
}

// y = clamp(x * scale + shift).
extern "C" void batch_norm_apply_float32(const float* x, const float* scale, const float* shift, float* y, int64_t rows,
                                         int64_t C, float low, float high, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t row = 0; row < rows; ++row) {
        const float* from = x + row * C;
        float* to = y + row * C;
#pragma omp simd
        for (int64_t c = 0; c < C; ++c) to[c] = clamped(from[c] * scale[c] + shift[c], low, high);
    }
}

// Sums of g and of g * (x - mean), where g is dy where the activation let x * scale + shift through, and else 0.
extern "C" void batch_norm_sums_float32(const float* dy, const float* x, const float* scale, const float* shift,
                                        const float* mean, double* sums, int64_t rows, int64_t C, int64_t chunks,
                                        float low, float high, int threads) {
    const int64_t length = (rows + chunks - 1) / chunks;
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t chunk = 0; chunk < chunks; ++chunk)
        add_up(chunk * length, std::min(rows, (chunk + 1) * length), C, sums + chunk * 2 * C,
               [=](int64_t at, int64_t c, float& s, float& q) {
                   const float z = x[at] * scale[c] + shift[c];
                   const float g = passed(dy[at], z, low, high);
                   s += g;
                   q += g * (x[at] - mean[c]);
               });
}

// dx = g * scale + x * slope + constant.
extern "C" void batch_norm_gradient_float32(const float* dy, const float* x, const float* scale, const float* shift,
                                            const float* slope, const float* constant, float* dx, int64_t rows,
                                            int64_t C, float low, float high, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t row = 0; row < rows; ++row) {
        const float *from = x + row * C, *d = dy + row * C;
        float* to = dx + row * C;
#pragma omp simd
        for (int64_t c = 0; c < C; ++c) {
            const float z = from[c] * scale[c] + shift[c];
            const float g = passed(d[c], z, low, high);
            to[c] = g * scale[c] + from[c] * slope[c] + constant[c];
        }
    }
}
