#version 330
uniform float instance;
in vec3 v_normal;
in float v_depth_m;
#ifdef CUTOUT
uniform sampler2D albedo_map;
in vec2 v_uv;
#endif
layout(location = 0) out vec4 normal_depth;
layout(location = 1) out float instance_id;
void main() {
#ifdef CUTOUT
    if (texture(albedo_map, v_uv, -0.5).a < 0.5) discard;
#endif
    vec3 n = normalize(v_normal);
    normal_depth = vec4(n, v_depth_m);
    instance_id = instance;
}
