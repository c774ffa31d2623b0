#version 330
#ifdef STILL
#extension GL_ARB_sample_shading : enable
#endif
// Lambert + a small highlight, sun with two shadow maps (props, people), SH ambient, filmic tone curve.
uniform sampler2D albedo_map;
uniform sampler2DShadow props_shadow;
uniform sampler2DShadow people_shadow;
uniform mat4 T_props_shadow_world;
uniform mat4 T_people_shadow_world;
uniform bool has_people_shadow;
uniform vec3 sun_direction;
uniform vec3 sun_rgb;
uniform vec3 ambient_sh[9];
uniform vec3 haze_rgb;
uniform vec3 eye;
uniform float exposure;
uniform float gloss;
uniform float variation;
uniform float haze_per_m;
uniform float emission;
in vec3 v_position;
in vec3 v_normal;
in vec2 v_uv;
in vec3 v_tint;
layout(location = 0) out vec4 colour;
#ifdef STILL
layout(location = 1) out vec4 plate;
#endif

#ifdef STILL
// Shaded once a pixel: two taps along the longer side of its footprint keep slanted ground sharp.
vec4 texel_at(vec2 uv) {
    vec2 across = dFdx(uv), along = dFdy(uv);
    vec2 longer = dot(across, across) > dot(along, along) ? across : along;
    return 0.5 * (texture(albedo_map, uv - 0.25 * longer, -1.2) + texture(albedo_map, uv + 0.25 * longer, -1.2));
}
#else
vec4 texel_at(vec2 uv) { return texture(albedo_map, uv, -0.5); }
#endif

float lit(sampler2DShadow map, mat4 T, vec3 p, bool is_needed) {
    vec3 s = (T * vec4(p, 1.0)).xyz * 0.5 + 0.5;
    bool is_inside = all(greaterThan(s, vec3(0.0))) && all(lessThan(s, vec3(1.0)));
    // The software driver runs both sides of an "if" but leaves a loop when no pixel is in it.
    int taps = is_needed && is_inside ? 4 : 0;
    vec2 texel = 1.0 / vec2(textureSize(map, 0));
    float sum = 4.0 - float(taps);
    for (int i = 0; i < taps; ++i)  // each tap is itself a filtered 2 x 2 comparison
        sum += textureLod(map, vec3(s.xy + (vec2(i & 1, i >> 1) - 0.5) * 1.5 * texel, s.z - 0.0006), 0.0);
    return sum * 0.25;
}

vec3 ambient(vec3 n) {
    vec3 e = ambient_sh[0] + ambient_sh[1] * n.y + ambient_sh[2] * n.z + ambient_sh[3] * n.x
        + ambient_sh[4] * n.x * n.y + ambient_sh[5] * n.y * n.z + ambient_sh[6] * (3.0 * n.z * n.z - 1.0)
        + ambient_sh[7] * n.x * n.z + ambient_sh[8] * (n.x * n.x - n.y * n.y);
    return max(e, vec3(0.0));
}

vec3 tone(vec3 x) {  // Narkowicz 2015, fit of the ACES curve
    x = clamp((x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14), 0.0, 1.0);
    return pow(x, vec3(1.0 / 2.2));
}

void main() {
    vec3 n = normalize(v_normal);
    vec3 to_eye = normalize(eye - v_position);
    if (dot(n, to_eye) < 0.0 && !gl_FrontFacing) n = -n;
    vec4 texel = texel_at(v_uv);
#if defined(CUTOUT) && defined(STILL)
    vec2 slope = vec2(dFdx(texel.a), dFdy(texel.a));
    int covered = 0;  // the usual four places in the pixel
    if (texel.a + dot(slope, vec2(-0.125, -0.375)) >= 0.5) covered |= 1;
    if (texel.a + dot(slope, vec2(0.375, -0.125)) >= 0.5) covered |= 2;
    if (texel.a + dot(slope, vec2(-0.375, 0.125)) >= 0.5) covered |= 4;
    if (texel.a + dot(slope, vec2(0.125, 0.375)) >= 0.5) covered |= 8;
    if (covered == 0) discard;
    gl_SampleMask[0] = covered;
#elif defined(CUTOUT)
    if (texel.a < 0.5) discard;
#endif
    vec3 albedo = pow(texel.rgb, vec3(2.2)) * v_tint;
    for (int i = 0; i < (variation > 0.0 ? 1 : 0); ++i) {  // breaks the repetition of a tiled ground
        float slow = texture(albedo_map, v_uv * 0.137).g - texture(albedo_map, v_uv.yx * 0.071).r;
        albedo *= 1.0 + variation * slow;
    }
    float facing = max(dot(n, sun_direction), 0.0);
    vec3 offset = v_position + n * 0.015;
    float props = lit(props_shadow, T_props_shadow_world, offset, facing > 0.0);
    float people = lit(people_shadow, T_people_shadow_world, offset, has_people_shadow && facing > 0.0);
    vec3 sun = sun_rgb * facing * (albedo + gloss * pow(max(dot(n, normalize(to_eye + sun_direction)), 0.0), 32.0));
    vec3 rest = albedo * (ambient(n) + emission);
    float haze = 1.0 - exp(-max(length(eye - v_position) - 12.0, 0.0) * haze_per_m);
    colour = vec4(tone(exposure * mix(rest + sun * min(props, people), haze_rgb, haze)), 1.0);
#ifdef STILL
    plate = vec4(tone(exposure * mix(rest + sun * props, haze_rgb, haze)), 1.0);
#endif
}
