#version 330
// Light on what the surface passes left: Lambert + a small highlight, sun with two shadow maps (props, people), SH
// ambient, haze, sky, filmic tone curve. A pixel has four samples: of still things at the usual four places, of
// people at 2 x 2. If all are on one surface it is lit once, else each.
// The software driver runs both sides of an "if" but leaves a loop when no pixel is in it: hence the loops.
uniform usampler2DMS still_samples;
uniform usampler2D people_samples;
uniform sampler2D panorama;
uniform sampler2DShadow props_shadow;
uniform sampler2DShadow people_shadow;
uniform mat4 T_props_shadow_world;
uniform mat4 T_people_shadow_world;
uniform bool has_people;
uniform vec3 sun_direction;
uniform vec3 sun_rgb;
uniform vec3 ambient_sh[9];
uniform vec3 haze_rgb;
uniform vec3 eye;
uniform float exposure;
uniform float haze_per_m;
uniform vec2 gloss_emission[128];
in vec3 v_ray;
layout(location = 0) out vec4 colour;
const float PI = 3.14159265358979;
const int ONE_SURFACE = 6;  // steps of nearness, 0.05 % each
#include sample.glsl

float lit(sampler2DShadow map, mat4 T, vec3 p, bool is_needed) {
    vec3 s = (T * vec4(p, 1.0)).xyz * 0.5 + 0.5;
    bool is_inside = all(greaterThan(s, vec3(0.0))) && all(lessThan(s, vec3(1.0)));
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
    vec3 r2 = sqrt(x), r4 = sqrt(r2), r8 = sqrt(r4);
    // x to the power of 1 / 2.2, within 0.2 of 255 levels
    return 0.937217 * r2 + 0.136221 * r4 - 0.0231959 * r8 - 0.050996 * x;
}

vec3 light(vec3 p, vec3 n, vec3 albedo, vec2 material) {
    vec3 ray = eye - p;
    float away_m = length(ray);
    float facing = max(dot(n, sun_direction), 0.0);
    vec3 offset = p + n * 0.015;
    float seen = lit(props_shadow, T_props_shadow_world, offset, facing > 0.0);
    seen = min(seen, lit(people_shadow, T_people_shadow_world, offset, has_people && facing > 0.0));
    float glance = max(dot(n, normalize(ray / away_m + sun_direction)), 0.0);
    glance *= glance; glance *= glance; glance *= glance; glance *= glance; glance *= glance;
    vec3 sun = sun_rgb * facing * (albedo + material.x * glance);
    vec3 rest = albedo * (ambient(n) + material.y);
    float haze = 1.0 - exp(-max(away_m - 12.0, 0.0) * haze_per_m);
    return tone(exposure * mix(rest + sun * seen, haze_rgb, haze));
}

// Latitude-longitude map of the OpenEXR convention: centre column is +z, a quarter to its left +x, top row +y.
vec3 sky(vec3 ray) {
    vec3 d = normalize(ray);
    vec2 uv = vec2(0.5 - atan(d.x, d.z) / (2.0 * PI), acos(clamp(d.y, -1.0, 1.0)) / PI);
    return tone(exposure * textureLod(panorama, uv, 0.0).rgb);
}

vec3 albedo_of(uint bits) {
    vec3 root = vec3(uvec3(bits, bits >> 8, bits >> 16) & 255u) * (1.0 / 255.0);
    return root * root;
}

void main() {
    ivec2 at = ivec2(gl_FragCoord.xy);
    uvec2 a = texelFetch(still_samples, at, 0).rg, b = texelFetch(still_samples, at, 1).rg;
    uvec2 c = texelFetch(still_samples, at, 2).rg, d = texelFetch(still_samples, at, 3).rg;
    for (int i = 0; i < (has_people ? 1 : 0); ++i) {
        uvec2 e = texelFetch(people_samples, 2 * at, 0).rg, f = texelFetch(people_samples, 2 * at + ivec2(1, 0), 0).rg;
        uvec2 g = texelFetch(people_samples, 2 * at + ivec2(0, 1), 0).rg, h = texelFetch(people_samples, 2 * at + 1, 0).rg;
        a = e.y > a.y ? e : a;  // the nearer one
        b = f.y > b.y ? f : b;
        c = g.y > c.y ? g : c;
        d = h.y > d.y ? h : d;
    }
    uvec4 nearness = uvec4(a.y, b.y, c.y, d.y) >> 18;
    vec3 albedo = 0.25 * (albedo_of(a.x) + albedo_of(b.x) + albedo_of(c.x) + albedo_of(d.x));
    vec3 n = 0.25 * (normal_of_steps(a.y) + normal_of_steps(b.y) + normal_of_steps(c.y) + normal_of_steps(d.y));
    uint nearest = max(max(nearness.x, nearness.y), max(nearness.z, nearness.w));
    uint farthest = min(min(nearness.x, nearness.y), min(nearness.z, nearness.w));
    uint materials = (a.x ^ b.x) | (a.x ^ c.x) | (a.x ^ d.x);
    bool is_one = materials >> 24 == 0u && nearest - farthest < uint(ONE_SURFACE) && dot(n, n) > 0.9;
    float sky_share = 0.25 * float(int(a.y == 0u) + int(b.y == 0u) + int(c.y == 0u) + int(d.y == 0u));
    float mean_nearness = dot(vec4(nearness), vec4(0.25));
    vec3 sum = vec3(0.0);
    int count = nearest == 0u ? 0 : is_one ? 1 : 4;
    for (int i = 0; i < count; ++i) {
        vec2 material = gloss_emission[a.x >> 24];
        vec3 p = eye + v_ray * z_of(is_one ? mean_nearness : float(a.y >> 18));
        vec3 shown = light(p, is_one ? normalize(n) : normal_of_steps(a.y), is_one ? albedo : albedo_of(a.x), material);
        sum += a.y == 0u ? vec3(0.0) : shown;
        a = b; b = c; c = d;
    }
    sum *= is_one ? 1.0 : 0.25;
    for (int i = 0; i < (sky_share > 0.0 ? 1 : 0); ++i)
        sum += sky_share * sky(v_ray);
    colour = vec4(sum, 1.0);
}
