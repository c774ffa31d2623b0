#version 330
uniform int instance;
in vec3 v_normal;
in float v_depth_m;
in vec3 v_after;
in vec3 v_before;
#ifdef CUTOUT
uniform sampler2D albedo_map;
in vec2 v_uv;
#endif
layout(location = 0) out ivec4 normal_instance;
layout(location = 1) out ivec4 flow;
layout(location = 2) out vec4 depth;
#include flow.glsl
void main() {
#ifdef CUTOUT
    if (texture(albedo_map, v_uv, -0.5).a < 0.5) discard;
#endif
    normal_instance = ivec4(ivec3(floor(127.0 * normalize(v_normal) + 0.5)), instance);
    flow = ivec4(flow_steps(v_after), flow_steps(v_before));
    depth = vec4(v_depth_m, 1.0 / v_after.z, 1.0 / v_before.z, 0.0);
}
