// The gated temporal convolution of clips on a CPU, one pass over memory each way, with MEM's gate or a given one;
// kernels/temporal_conv.py and fused_tei.py call it.
//
// x, y, dy, dx: (B, T, P, C), channels last, P pixels of a frame; float or bfloat16, computed in float.
// v: (C, 3) or null (no neighbors: 0, 1, 0).  g: (B, T, C) or null (ones).
// lag: 0, or 1 for the causal form, whose taps lie on t-2, t-1 and t.
//
// A clip is cut into tiles of some rows (pixels) over all frames, so that a frame is still in the cache when its
// neighbors in time need it. Every result is independent of the number of threads.

#include <memory>

#include "gate.h"
#include "mix.h"

namespace {

constexpr int64_t CACHE = int64_t(1) << 23;  // bytes of clips that are pooled, then mixed while they are in the cache

struct Shape {
    int64_t clips, frames, pixels, channels, lag;
    int64_t rows() const { return rows_of_tile(pixels, channels); }
    int64_t clip() const { return frames * pixels * channels; }
    int team(int threads) const { return clips * clip() > SMALL ? threads : 1; }
};

// The mix of a clip, or its transpose: out_t = sum over i = -1, 0, 1 of (tap i times gate) * in_{t-lag+i}. Forwards the
// gate is that of the frame read; backwards that of the frame written, t, the taps are reversed, and so is the lag.
template <typename W>
struct Mix {
    const W* v;
    const float* g;
    Shape shape;
    bool transpose;
    std::unique_ptr<float[]> taps;

    Mix(const W* v, const float* g, const Shape& shape, bool transpose)
        : v(v), g(g), shape(shape), transpose(transpose),
          taps(new float[shape.clips * shape.frames * 3 * shape.channels]) {}

    // the frame that term i of frame t reads, of its clip; -1 for none
    int64_t source(int64_t t, int64_t i) const {
        if (!v) return i == 1 ? t : -1;
        const int64_t from = t + (transpose ? shape.lag : -shape.lag) + i - 1;
        return from < shape.frames ? from : -1;
    }

    // called by every thread of a parallel region, before any of them calls `tile`
    void prepare() {
        const int64_t C = shape.channels;
#pragma omp for collapse(2)
        for (int64_t b = 0; b < shape.clips; ++b) {
            for (int64_t t = 0; t < shape.frames; ++t) {
                for (int64_t i = 0; i < 3; ++i) {
                    const int64_t from = source(t, i), frame = b * shape.frames + (transpose ? t : from);
                    if (from >= 0) write_taps(of(b, t) + i * C, g ? g + frame * C : nullptr, v, transpose ? 2 - i : i, C);
                }
            }
        }
    }

    float* of(int64_t b, int64_t t) const { return &taps[(b * shape.frames + t) * 3 * shape.channels]; }

    // some rows of clip b; `in` and `out` lie at the first of them
    template <typename S>
    void tile(const S* in, S* out, int64_t b, int64_t rows) const {
        const int64_t stride = shape.pixels * shape.channels;
        for (int64_t t = 0; t < shape.frames; ++t) {
            const S* frames[3] = {};
            int terms = 0;
            for (int64_t i = 0; i < 3; ++i) {
                const int64_t from = source(t, i);
                if (from < 0) continue;
                terms |= 1 << i;
                frames[i] = in + from * stride;
            }
            mix(terms, frames, out + t * stride, of(b, t), rows, shape.channels);
        }
    }

    // called by every thread of a parallel region
    template <typename S>
    void run(const S* in, S* out) {
        prepare();
        const int64_t rows = shape.rows(), tiles = (shape.pixels + rows - 1) / rows;
#pragma omp for collapse(2)
        for (int64_t b = 0; b < shape.clips; ++b) {
            for (int64_t index = 0; index < tiles; ++index) {
                const int64_t first = index * rows, at = b * shape.clip() + first * shape.channels;
                tile(in + at, out + at, b, std::min(rows, shape.pixels - first));
            }
        }
    }
};

template <typename S, typename W>
void forward(const S* x, const W* v, const float* g, S* y, const Shape& shape, int threads) {
    Mix<W> mixed(v, g, shape, false);
#pragma omp parallel num_threads(shape.team(threads))
    mixed.run(x, y);
}

// pooled: (B*T, C).  hidden: (B*(T-1), R).  scale: (B, T, C), the gate, and 1 for the frame of a clip that has none.
template <typename S, typename W>
void tei(const S* x, const Squeeze<W>& squeeze, const W* v, S* y, float* scale, float* pooled, float* hidden,
         const Shape& all, bool causal, int threads) {
    const int64_t C = all.channels, T = all.frames, R = squeeze.hidden;
    const int64_t group = std::max<int64_t>(1, CACHE / int64_t(all.clip() * sizeof(S)));
    for (int64_t b = 0; b < all.clips; b += group) {
        Shape shape = all;
        shape.clips = std::min(group, all.clips - b);
        const int team = shape.team(threads);
        Pairs pairs;
        for (int64_t clip = b; clip < b + shape.clips; ++clip) {
            const float* frame = pooled + clip * T * C;
            float* gates = scale + (clip * T + causal) * C;
            for (int64_t t = 0; t + 1 < T; ++t)
                pairs.add(frame + t * C, frame + (t + 1) * C, hidden + (clip * (T - 1) + t) * R, gates + t * C);
            float* without = scale + (clip * T + (causal ? 0 : T - 1)) * C;
            std::fill(without, without + C, 1.0f);
        }
        const S* in = x + b * all.clip();
        Pool<S> pool(shape.clips * T, all.pixels, C, team);
        Mix<W> mixed(v, scale + b * T * C, shape, false);
#pragma omp parallel num_threads(team)
        {
            pool.run(in, pooled + b * T * C, C);
            squeeze.gate(pairs);
            mixed.run(in, y + b * all.clip());
        }
    }
}

// sums[i][lane] += sum over rows of x[i][p, lane] * dy[p, lane], for VECTORS vectors of lanes from `first` on
template <int TERMS, int VECTORS, int N, typename S>
inline void correlate(const S* const* x, const S* dy, float* sums, int64_t first, int64_t rows, int64_t C) {
    Floats<N> totals[3][VECTORS] = {};
    for (int64_t p = 0; p < rows; ++p) {
        for (int v = 0; v < VECTORS; ++v) {
            const int64_t at = p * C + first + v * N;
            const auto d = load<N>(dy + at);
            if constexpr (TERMS & 1) totals[0][v] += d * load<N>(x[0] + at);
            if constexpr (TERMS & 2) totals[1][v] += d * load<N>(x[1] + at);
            if constexpr (TERMS & 4) totals[2][v] += d * load<N>(x[2] + at);
        }
    }
    for (int i = 0; i < 3; ++i) {
        if (!(TERMS & 1 << i)) continue;
        for (int v = 0; v < VECTORS; ++v) {
            float* to = sums + i * C + first + v * N;
            store<N>(to, load<N>(to) + totals[i][v]);
        }
    }
}

template <int TERMS, typename S>
void correlate_all(const S* const* x, const S* dy, float* sums, int64_t rows, int64_t C) {
    int64_t first = 0;
    for (; first + 4 * WIDE <= C; first += 4 * WIDE) correlate<TERMS, 4, WIDE>(x, dy, sums, first, rows, C);
    for_lanes(C - first, [&](auto width, int64_t c) {
        correlate<TERMS, 1, decltype(width)::value>(x, dy, sums, first + c, rows, C);
    });
}

template <typename S>
using Correlate = void (*)(const S* const*, const S*, float*, int64_t, int64_t);

template <typename S>
constexpr Correlate<S> CORRELATIONS[8] = {correlate_all<0, S>, correlate_all<1, S>, correlate_all<2, S>,
                                          correlate_all<3, S>, correlate_all<4, S>, correlate_all<5, S>,
                                          correlate_all<6, S>, correlate_all<7, S>};

// dx, and sums[b, chunk, t, i, c] = sum over the chunk's pixels of x_{t-lag+i} * dy_t, from which the gradients of taps and
// gates follow. Either may be null.
template <typename S, typename W>
void backward(const S* dy, const S* x, const W* v, const float* g, S* dx, float* sums, const Shape& shape,
              int64_t chunks, int threads) {
    const int64_t C = shape.channels, T = shape.frames, stride = shape.pixels * C, rows = std::max<int64_t>(1, shape.rows() / 2);
    const int64_t length = (shape.pixels + chunks - 1) / chunks;
    Mix<W> forwards(v, g, shape, false), transposed(v, g, shape, true);
#pragma omp parallel num_threads(shape.team(threads))
    {
        if (dx) transposed.prepare();
#pragma omp for collapse(2)
        for (int64_t b = 0; b < shape.clips; ++b) {
            for (int64_t chunk = 0; chunk < chunks; ++chunk) {
                const int64_t end = std::min(shape.pixels, (chunk + 1) * length);
                float* mine = sums ? sums + (b * chunks + chunk) * T * 3 * C : nullptr;
                if (mine) std::fill(mine, mine + T * 3 * C, 0.0f);
                for (int64_t first = chunk * length; first < end; first += rows) {
                    const int64_t count = std::min(rows, end - first), at = b * T * stride + first * C;
                    if (dx) transposed.tile(dy + at, dx + at, b, count);
                    if (!mine) continue;
                    for (int64_t t = 0; t < T; ++t) {
                        const S* frames[3] = {};
                        int terms = 0;
                        for (int64_t i = 0; i < 3; ++i) {
                            const int64_t from = forwards.source(t, i);
                            if (from < 0) continue;
                            terms |= 1 << i;
                            frames[i] = x + at + from * stride;
                        }
                        if (terms) CORRELATIONS<S>[terms](frames, dy + at + t * stride, mine + t * 3 * C, count, C);
                    }
                }
            }
        }
    }
}

}  // namespace

#define TEINET_CLIPS(NAME, S, W)                                                                                      \
    extern "C" void forward_##NAME(const void* x, const void* v, const float* g, void* y, int64_t clips,              \
                                   int64_t frames, int64_t pixels, int64_t channels, int64_t lag, int threads) {      \
        forward((const S*)x, (const W*)v, g, (S*)y, Shape{clips, frames, pixels, channels, lag}, threads);            \
    }                                                                                                                 \
    extern "C" void backward_##NAME(const void* dy, const void* x, const void* v, const float* g, void* dx,           \
                                    float* sums, int64_t clips, int64_t frames, int64_t pixels, int64_t channels,     \
                                    int64_t lag, int64_t chunks, int threads) {                                       \
        backward((const S*)dy, (const S*)x, (const W*)v, g, (S*)dx, sums,                                             \
                 Shape{clips, frames, pixels, channels, lag}, chunks, threads);                                       \
    }                                                                                                                 \
    extern "C" void tei_##NAME(const void* x, const void* w1, const void* b1, const void* w2, const void* b2,         \
                               const void* w3, const void* b3, const void* v, void* y, float* scale, float* pooled,   \
                               float* hidden, int64_t clips, int64_t frames, int64_t pixels, int64_t channels,         \
                               int64_t squeezed, int64_t causal, float offset, int threads) {                         \
        const Squeeze<W> squeeze{(const W*)w1, (const W*)b1, (const W*)w2, (const W*)b2, (const W*)w3, (const W*)b3,  \
                                 channels, squeezed, offset};                                                         \
        tei((const S*)x, squeeze, (const W*)v, (S*)y, scale, pooled, hidden,                                          \
            Shape{clips, frames, pixels, channels, causal}, causal != 0, threads);                                    \
    }

TEINET_CLIPS(float32_float32, float, float)
TEINET_CLIPS(float32_bfloat16, float, bf16)
TEINET_CLIPS(bfloat16_float32, bf16, float)
TEINET_CLIPS(bfloat16_bfloat16, bf16, bf16)
