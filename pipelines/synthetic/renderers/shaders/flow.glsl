uniform vec2 size_px;
const float FLOW_STEPS_PER_PX = 64.0;
vec2 flow_steps(vec3 clip) {
    vec2 flow_px = (clip.xy / clip.z * 0.5 + 0.5) * size_px - gl_FragCoord.xy;
    return clamp(floor(flow_px * FLOW_STEPS_PER_PX + 0.5), -32767.0, 32767.0);
}
