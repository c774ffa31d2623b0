#version 330
#ifdef CUTOUT
uniform sampler2D albedo_map;
in vec2 v_uv;
void main() { if (texture(albedo_map, v_uv).a < 0.5) discard; }
#else
void main() {}
#endif
