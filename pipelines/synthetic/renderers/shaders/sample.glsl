// A sample of a surface in 64 bits: root of its colour (3 x 8), material (8); nearness (14), normal (2 x 9).
// Nothing there: 0. Nearness is the logarithm of 1 / z from FAR_M to NEAR_M: half a millimetre in each metre.
const float LOG_FAR = 7.643856, LOG_RANGE = 10.965784;  // log2 of 200, and of 200 / 0.1
uint nearness_of(float inverse_z) {
    return uint(clamp((log2(inverse_z) + LOG_FAR) * (16383.0 / LOG_RANGE) + 0.5, 1.0, 16383.0));
}
float z_of(float nearness) { return exp2(LOG_FAR - nearness * (LOG_RANGE / 16383.0)); }
vec2 turned(vec2 v) { return (1.0 - abs(v.yx)) * vec2(v.x < 0.0 ? -1.0 : 1.0, v.y < 0.0 ? -1.0 : 1.0); }
// Octahedral map: Cigolle et al. 2014, "Survey of Efficient Representations for Independent Unit Vectors".
uint steps_of_normal(vec3 n) {
    vec2 v = n.xy / (abs(n.x) + abs(n.y) + abs(n.z));
    uvec2 steps = uvec2((n.z < 0.0 ? turned(v) : v) * 255.0 + 255.5);
    return steps.x | steps.y << 9;
}
vec3 normal_of_steps(uint steps) {
    vec2 v = vec2(uvec2(steps, steps >> 9) & 511u) * (1.0 / 255.0) - 1.0;
    float z = 1.0 - abs(v.x) - abs(v.y);
    return normalize(vec3(z < 0.0 ? turned(v) : v, z));
}
