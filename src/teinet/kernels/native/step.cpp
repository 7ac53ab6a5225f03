// K more frames of each of N streams through a causal temporal module, with MEM's gate or a given one; kernels/step.py
// calls it.
//
// x, y: (N, K, P, C), one, two: (N, P, C), channels last, P pixels of a frame; float or bfloat16, computed in float.
// v: (C, 3), on frames t-2, t-1, t.  g: (N, K, C) or null (ones).  u is the gated frame, `one` and `two` those before:
//   u_t = g_t x_t      y_t = v0 u_{t-2} + v1 u_{t-1} + v2 u_t
// The last u is written over `two`, and for K > 1 the one before it over `one`: memory that is in the cache just then.
// before, pooled: (N, C+1) and (N, K, C+1), pooled features and 1, or zeros where there was no frame: its gate is 1.

#include <memory>

#include "gate.h"
#include "mix.h"

namespace {

struct Shape {
    int64_t streams, frames, pixels, channels;
    int team(int threads) const { return streams * frames * pixels * channels > SMALL ? threads : 1; }
};

// out = gate * in
template <typename S>
void write_state(const S* in, const float* gate, S* out, int64_t rows, int64_t C) {
    for (int64_t p = 0; p < rows; ++p) {
        for_lanes(C, [&](auto width, int64_t c) {
            constexpr int N = decltype(width)::value;
            const auto value = load<N>(in + p * C + c);
            store<N>(out + p * C + c, gate ? load<N>(gate + c) * value : value);
        });
    }
}

// called by every thread of a parallel region
template <typename S, typename W>
void mix_frames(const S* x, S* one, S* two, const W* v, const float* g, S* y, float* taps, const Shape& shape) {
    const int64_t C = shape.channels, K = shape.frames, stride = shape.pixels * C;
    const int64_t rows = rows_of_tile(shape.pixels, C), tiles = (shape.pixels + rows - 1) / rows;
#pragma omp for
    for (int64_t row = 0; row < shape.streams * K * 3; ++row) {
        const int64_t frame = row / 3, i = row % 3, k = frame % K;  // of two frames before the first, gated already
        write_taps(taps + row * C, g && k + i >= 2 ? g + (frame + i - 2) * C : nullptr, v, i, C);
    }
#pragma omp for collapse(2)
    for (int64_t n = 0; n < shape.streams; ++n) {
        for (int64_t index = 0; index < tiles; ++index) {
            const int64_t count = std::min(rows, shape.pixels - index * rows);
            S *first = two + n * stride + index * rows * C, *second = one + n * stride + index * rows * C;
            const S* frames = x + n * K * stride + index * rows * C;
            const auto at = [&](int64_t k) { return k == -2 ? first : k == -1 ? second : frames + k * stride; };
            for (int64_t k = 0; k < K; ++k) {
                const S* const in[3] = {at(k - 2), at(k - 1), at(k)};
                mix_rows<7>(in, y + (n * K + k) * stride + index * rows * C, taps + (n * K + k) * 3 * C, count, C);
            }
            for (int64_t k = std::max<int64_t>(0, K - 2); k < K; ++k)
                write_state(frames + k * stride, g ? g + (n * K + k) * C : nullptr, k == K - 1 ? first : second, count, C);
        }
    }
}

template <typename S, typename W>
void step(const S* x, S* one, S* two, const W* v, const float* g, S* y, const Shape& shape, int threads) {
    std::unique_ptr<float[]> taps(new float[shape.streams * shape.frames * 3 * shape.channels]);
#pragma omp parallel num_threads(shape.team(threads))
    mix_frames(x, one, two, v, g, y, taps.get(), shape);
}

template <typename S, typename W>
void tei_step(const S* x, const Squeeze<W>& squeeze, const float* before, S* one, S* two, const W* v, S* y,
              float* pooled, const Shape& shape, int threads) {
    const int64_t C = shape.channels, K = shape.frames, count = shape.streams * K;
    const int team = shape.team(threads);
    std::unique_ptr<float[]> taps(new float[count * 3 * C]), hidden(new float[count * squeeze.hidden]);
    std::unique_ptr<float[]> scale(new float[count * C]);
    Pairs pairs;
    for (int64_t n = 0; n < shape.streams; ++n) {
        for (int64_t k = 0; k < K; ++k) {
            float* here = pooled + (n * K + k) * (C + 1);
            const float* last = k ? here - (C + 1) : before + n * (C + 1);
            pairs.add(last, here, &hidden[(n * K + k) * squeeze.hidden], &scale[(n * K + k) * C]);
            here[C] = 1;
        }
    }
    Pool<S> pool(count, shape.pixels, C, team);
#pragma omp parallel num_threads(team)
    {
        pool.run(x, pooled, C + 1);
        squeeze.gate(pairs);
#pragma omp for
        for (int64_t n = 0; n < shape.streams; ++n)
            if (before[n * (C + 1) + C] == 0) std::fill(&scale[n * K * C], &scale[n * K * C] + C, 1.0f);
        mix_frames(x, one, two, v, scale.get(), y, taps.get(), shape);
    }
}

}  // namespace

#define TEINET_STEP(NAME, S, W)                                                                                       \
    extern "C" void step_##NAME(const void* x, void* one, void* two, const void* v, const float* g, void* y,          \
                                int64_t streams, int64_t frames, int64_t pixels, int64_t channels, int threads) {     \
        step((const S*)x, (S*)one, (S*)two, (const W*)v, g, (S*)y, Shape{streams, frames, pixels, channels}, threads); \
    }                                                                                                                 \
    extern "C" void tei_step_##NAME(const void* x, const void* w1, const void* b1, const void* w2, const void* b2,    \
                                    const void* w3, const void* b3, const void* v, const float* before, void* one,    \
                                    void* two, void* y, float* pooled, int64_t streams, int64_t frames,               \
                                    int64_t pixels, int64_t channels, int64_t squeezed, float offset, int threads) {  \
        const Squeeze<W> squeeze{(const W*)w1, (const W*)b1, (const W*)w2, (const W*)b2, (const W*)w3, (const W*)b3,  \
                                 channels, squeezed, offset};                                                         \
        tei_step((const S*)x, squeeze, before, (S*)one, (S*)two, (const W*)v, (S*)y, pooled,                          \
                 Shape{streams, frames, pixels, channels}, threads);                                                  \
    }

TEINET_STEP(float32_float32, float, float)
TEINET_STEP(float32_bfloat16, float, bf16)
TEINET_STEP(bfloat16_float32, bf16, float)
TEINET_STEP(bfloat16_bfloat16, bf16, bf16)
