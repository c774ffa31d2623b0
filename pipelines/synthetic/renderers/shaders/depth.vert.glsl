#version 330
uniform mat4 T_clip_world;
in vec3 in_position;
#ifdef CUTOUT
in vec2 in_uv;
out vec2 v_uv;
#endif
void main() {
#ifdef CUTOUT
    v_uv = in_uv;
#endif
    gl_Position = T_clip_world * vec4(in_position, 1.0);
}
