"""Media that enters rooms without WebRTC: RTMP encoders. Each stream is a participant of kind `ingress`."""
