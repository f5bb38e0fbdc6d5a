"""A real RTSP server on GStreamer: /usr/bin/python3 rtsp_cameras.py PORT. Needs gir1.2-gst-rtsp-server-1.0.

Paths: /h264 (with AAC), /mjpeg (with PCMU), /hevc and /vp8 (with PCMA). A second server requires the password.
Prints both ports.
"""

import sys

import gi  # type: ignore[import-not-found]  # in the Python of Debian only

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # type: ignore[import-not-found]  # noqa: E402  # as above

USER, PASSWORD = "admin", "s3cret/pass"
VIDEO = "videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=180,framerate=15/1"
SOUND = "audiotestsrc is-live=true ! audioconvert ! audioresample"
PHONE = f"{SOUND} ! audio/x-raw,rate=8000,channels=1"
PATHS = {
    "/h264": f"{VIDEO} ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! video/x-h264,profile=baseline "
    f"! rtph264pay name=pay0 pt=96 config-interval=-1 {SOUND} ! avenc_aac ! rtpmp4gpay name=pay1 pt=97",
    "/hevc": f"{VIDEO} ! x265enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! rtph265pay name=pay0 pt=96 "
    f"config-interval=-1 {PHONE} ! alawenc ! rtppcmapay name=pay1 pt=8",
    "/vp8": f"{VIDEO} ! vp8enc deadline=1 keyframe-max-dist=15 ! rtpvp8pay name=pay0 pt=96 "
    f"{PHONE} ! alawenc ! rtppcmapay name=pay1 pt=8",
    "/mjpeg": f"{VIDEO} ! jpegenc ! rtpjpegpay name=pay0 pt=26 {PHONE} ! mulawenc ! rtppcmupay name=pay1 pt=0",
}


def serve(port: str, *, locked: bool) -> str:
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    if locked:
        auth = GstRtspServer.RTSPAuth()
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth.add_digest(USER, PASSWORD, token)
        server.set_auth(auth)
    for path, launch in PATHS.items():
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(f"( {launch} )")
        factory.set_shared(True)
        if locked:
            grant = "user, media.factory.access=(boolean)true, media.factory.construct=(boolean)true"
            factory.add_role_from_structure(Gst.Structure.new_from_string(grant))
        server.get_mount_points().add_factory(path, factory)
    assert server.attach(None)
    SERVERS.append(server)
    return str(server.get_bound_port())


SERVERS: list[object] = []


def main(port: str) -> None:
    Gst.init(None)
    print(serve(port, locked=False), serve("0", locked=True), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(sys.argv[1])
