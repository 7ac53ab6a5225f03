// The gated temporal convolution on a CPU, one pass over memory each way; kernels/temporal_conv.py calls it.
//
// x, y, dy, dx: (B, T, P, C), channels last, P pixels of a frame; float or bfloat16, computed in float.
// v: (C, 3) or null (no neighbors: 0, 1, 0).  g: (B, T, C) or null (ones).
// lag: 0, or 1 for the causal form, whose taps lie on t-2, t-1 and t.
//
// A clip is cut into tiles of some rows (pixels) over all frames, so that a frame is still in the cache when its
// neighbors in time need it. Every result is independent of the number of threads.

#include <algorithm>

#include "numbers.h"

namespace {

constexpr int64_t BLOCK = 2048;       // channels whose coefficients lie ready
constexpr int64_t LANES = 32;         // channels whose sums stay in registers
constexpr int64_t TILE = 16384;       // values of a frame in a tile: four frames of them fit a core's cache
constexpr int64_t SMALL = 1 << 15;    // values below which threads cost more than they bring

struct Shape {
    int64_t clips, frames, pixels, channels, lag;
    int64_t rows() const { return std::max<int64_t>(1, std::min(pixels, TILE / channels)); }
    int64_t size() const { return clips * frames * pixels * channels; }
};

// out[p, c] = sum over i of taps[i][c] * in[i][p, c]; which of the three terms there are, the bits of TERMS say
template <int TERMS, typename S>
void mix(const S* const* in, S* out, const float* const* taps, int64_t rows, int64_t count, int64_t channels) {
    for (int64_t p = 0; p < rows; ++p) {
        const int64_t at = p * channels;
#pragma omp simd
        for (int64_t c = 0; c < count; ++c) {
            float sum = 0;
            if (TERMS & 2) sum = taps[1][c] * to_float(in[1][at + c]);
            if (TERMS & 1) sum += taps[0][c] * to_float(in[0][at + c]);
            if (TERMS & 4) sum += taps[2][c] * to_float(in[2][at + c]);
            store(out[at + c], sum);
        }
    }
}

template <typename S>
using Mix = void (*)(const S* const*, S*, const float* const*, int64_t, int64_t, int64_t);

template <typename S>
constexpr Mix<S> MIXES[8] = {mix<0, S>, mix<1, S>, mix<2, S>, mix<3, S>, mix<4, S>, mix<5, S>, mix<6, S>, mix<7, S>};

// One tile of one clip: out_t = sum over i = -1, 0, 1 of (tap i times gate) * in_{t-lag+i}. Forwards the gate is that of
// the frame read; backwards (the transpose) that of the frame written, t, the taps are reversed, and so is the lag.
template <typename S>
void convolve_tile(const S* in, S* out, const float* v, const float* g, const Shape& shape, int64_t rows,
                   bool transpose) {
    const int64_t C = shape.channels, T = shape.frames, stride = shape.pixels * C;
    const int64_t center = !v ? 0 : transpose ? shape.lag : -shape.lag;
    float taps[3][BLOCK];
    const float* const each[3] = {taps[0], taps[1], taps[2]};
    for (int64_t t = 0; t < T; ++t) {
        for (int64_t first = 0; first < C; first += BLOCK) {
            const int64_t count = std::min(BLOCK, C - first);
            const S* frames[3] = {};
            int terms = 0;
            for (int64_t i = v ? 0 : 1; i < (v ? 3 : 2); ++i) {
                const int64_t from = t + center + i - 1;
                if (from < 0 || from >= T) continue;
                terms |= 1 << i;
                frames[i] = in + from * stride + first;
                const float* gate = g ? g + (transpose ? t : from) * C + first : nullptr;
                for (int64_t c = 0; c < count; ++c)
                    taps[i][c] = (gate ? gate[c] : 1.0f) * (v ? v[3 * (first + c) + (transpose ? 2 - i : i)] : 1.0f);
            }
            MIXES<S>[terms](frames, out + t * stride + first, each, rows, count, C);
        }
    }
}

template <typename S>
void forward(const S* x, const float* v, const float* g, S* y, const Shape& shape, int threads) {
    const int64_t rows = shape.rows(), tiles = (shape.pixels + rows - 1) / rows;
    const int64_t clip = shape.frames * shape.pixels * shape.channels;
#pragma omp parallel for collapse(2) num_threads(threads) if (threads > 1 && shape.size() > SMALL)
    for (int64_t b = 0; b < shape.clips; ++b) {
        for (int64_t tile = 0; tile < tiles; ++tile) {
            const int64_t first = tile * rows, at = b * clip + first * shape.channels;
            convolve_tile(x + at, y + at, v, g ? g + b * shape.frames * shape.channels : nullptr, shape,
                          std::min(rows, shape.pixels - first), false);
        }
    }
}

// sums[i][c] += sum over rows of x[i][p, c] * dy[p, c], for a full block of LANES channels or what is left
template <int TERMS, bool FULL, typename S>
void correlate(const S* const* x, const S* dy, float* sums, int64_t first, int64_t rows, int64_t count,
               int64_t channels) {
    float left[LANES] = {}, middle[LANES] = {}, right[LANES] = {};
    const int64_t width = FULL ? LANES : count;
    for (int64_t p = 0; p < rows; ++p) {
        const int64_t at = p * channels + first;
#pragma omp simd
        for (int64_t c = 0; c < width; ++c) {
            const float d = to_float(dy[at + c]);
            if (TERMS & 2) middle[c] += d * to_float(x[1][at + c]);
            if (TERMS & 1) left[c] += d * to_float(x[0][at + c]);
            if (TERMS & 4) right[c] += d * to_float(x[2][at + c]);
        }
    }
    for (int64_t c = 0; c < width; ++c) {
        sums[first + c] += left[c];
        sums[channels + first + c] += middle[c];
        sums[2 * channels + first + c] += right[c];
    }
}

template <int TERMS, typename S>
void correlate_all(const S* const* x, const S* dy, float* sums, int64_t rows, int64_t C) {
    int64_t first = 0;
    for (; first + LANES <= C; first += LANES) correlate<TERMS, true, S>(x, dy, sums, first, rows, LANES, C);
    if (first < C) correlate<TERMS, false, S>(x, dy, sums, first, rows, C - first, C);
}

template <typename S>
using Correlate = void (*)(const S* const*, const S*, float*, int64_t, int64_t);

template <typename S>
constexpr Correlate<S> CORRELATIONS[8] = {correlate_all<0, S>, correlate_all<1, S>, correlate_all<2, S>,
                                          correlate_all<3, S>, correlate_all<4, S>, correlate_all<5, S>,
                                          correlate_all<6, S>, correlate_all<7, S>};

// dx, and sums[b, chunk, t, i, c] = sum over the chunk's pixels of x_{t-lag+i} * dy_t, from which the gradients of taps and
// gates follow. Either may be null.
template <typename S>
void backward(const S* dy, const S* x, const float* v, const float* g, S* dx, float* sums, const Shape& shape,
              int64_t chunks, int threads) {
    const int64_t C = shape.channels, T = shape.frames, stride = shape.pixels * C, rows = shape.rows();
    const int64_t length = (shape.pixels + chunks - 1) / chunks;
#pragma omp parallel for collapse(2) num_threads(threads) if (threads > 1 && shape.size() > SMALL)
    for (int64_t b = 0; b < shape.clips; ++b) {
        for (int64_t chunk = 0; chunk < chunks; ++chunk) {
            const int64_t end = std::min(shape.pixels, (chunk + 1) * length);
            float* mine = sums ? sums + (b * chunks + chunk) * T * 3 * C : nullptr;
            if (mine) std::fill(mine, mine + T * 3 * C, 0.0f);
            for (int64_t first = chunk * length; first < end; first += rows) {
                const int64_t count = std::min(rows, end - first), at = b * T * stride + first * C;
                if (dx) convolve_tile(dy + at, dx + at, v, g ? g + b * T * C : nullptr, shape, count, true);
                if (!mine) continue;
                for (int64_t t = 0; t < T; ++t) {
                    const S* frames[3] = {};
                    int terms = 0;
                    for (int64_t i = v ? 0 : 1; i < (v ? 3 : 2); ++i) {
                        const int64_t from = t - (v ? shape.lag : 0) + i - 1;
                        if (from < 0 || from >= T) continue;
                        terms |= 1 << i;
                        frames[i] = x + at + from * stride;
                    }
                    if (terms) CORRELATIONS<S>[terms](frames, dy + at + t * stride, mine + t * 3 * C, count, C);
                }
            }
        }
    }
}

}  // namespace

#define TEINET_ENTRIES(NAME, TYPE)                                                                                    \
    extern "C" void forward_##NAME(const void* x, const float* v, const float* g, void* y, int64_t clips,            \
                                   int64_t frames, int64_t pixels, int64_t channels, int64_t lag, int threads) {     \
        forward((const TYPE*)x, v, g, (TYPE*)y, Shape{clips, frames, pixels, channels, lag}, threads);               \
    }                                                                                                                 \
    extern "C" void backward_##NAME(const void* dy, const void* x, const float* v, const float* g, void* dx,         \
                                    float* sums, int64_t clips, int64_t frames, int64_t pixels, int64_t channels,    \
                                    int64_t lag, int64_t chunks, int threads) {                                       \
        backward((const TYPE*)dy, (const TYPE*)x, v, g, (TYPE*)dx, sums, Shape{clips, frames, pixels, channels, lag}, \
                 chunks, threads);                                                                                    \
    }

TEINET_ENTRIES(float32, float)
TEINET_ENTRIES(bfloat16, bf16)
