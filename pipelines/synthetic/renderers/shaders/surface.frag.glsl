#version 330
#ifndef PEOPLE
#extension GL_ARB_sample_shading : enable
#endif
// What the light pass needs of a surface: root of its colour, its material, its normal.
uniform sampler2D albedo_map;
uniform vec3 eye;
uniform int material;
in vec3 v_position;
in vec3 v_normal;
in vec2 v_uv;
in vec3 v_root_tint;
layout(location = 0) out uvec2 surface;
#include sample.glsl

#ifdef GROUND
uniform float variation;
// Two taps along the longer side of the pixel's footprint keep slanted ground sharp.
vec4 texel_at(vec2 uv) {
    vec2 across = dFdx(uv), along = dFdy(uv);
    vec2 longer = dot(across, across) > dot(along, along) ? across : along;
    vec4 texel = 0.5 * (texture(albedo_map, uv - 0.25 * longer, -1.2) + texture(albedo_map, uv + 0.25 * longer, -1.2));
    // breaks the repetition of a tiled ground
    float slow = texture(albedo_map, uv * 0.137).g - texture(albedo_map, uv.yx * 0.071).r;
    texel.rgb *= 1.0 + 0.5 * variation * slow;
    return texel;
}
#else
vec4 texel_at(vec2 uv) { return texture(albedo_map, uv, -0.5); }
#endif

void main() {
    vec4 texel = texel_at(v_uv);
#if defined(CUTOUT) && !defined(PEOPLE)
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
    vec3 n = normalize(v_normal);
    if (dot(n, eye - v_position) < 0.0 && !gl_FrontFacing) n = -n;
    uvec3 root = uvec3(clamp(texel.rgb * v_root_tint, 0.0, 1.0) * 255.0 + 0.5);
    surface.x = root.r | root.g << 8 | root.b << 16 | uint(material) << 24;
    surface.y = nearness_of(gl_FragCoord.w) << 18 | steps_of_normal(n);
}
