"""A real RTSP server on GStreamer: /usr/bin/python3 rtsp_cameras.py PORT FOLDER. Needs gir1.2-gst-rtsp-server-1.0.

Paths: /h264 (with AAC), /mjpeg (with PCMU), /hevc, /vp8 and /mpeg4 (with PCMA); /mpeg4 plays FOLDER/clip.mp4, because the
encoder of GStreamer 1.22 sets no timestamps. A second server requires the password. A third one uses TLS if
FOLDER/certificate.pem and key.pem exist. Prints the ports; 0: no server.
"""

import sys
from pathlib import Path

import gi  # type: ignore[import-not-found]  # in the Python of Debian only

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # type: ignore[import-not-found]  # noqa: E402  # as above

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


def serve(port: str, clip: Path, *, locked: bool = False, certificate: object = None) -> str:
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
    if certificate is not None:
        auth = GstRtspServer.RTSPAuth()
        auth.set_tls_certificate(certificate)
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth.set_default_token(token)
        server.set_auth(auth)
    mpeg4 = f"filesrc location={clip} ! qtdemux ! mpeg4videoparse ! rtpmp4vpay name=pay0 pt=96 config-interval=1"
    paths = PATHS | {"/mpeg4": f"{mpeg4} {PHONE} ! alawenc ! rtppcmapay name=pay1 pt=8"}
    for path, launch in paths.items():
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(f"( {launch} )")
        factory.set_shared(True)
        if locked or certificate is not None:
            grant = "user, media.factory.access=(boolean)true, media.factory.construct=(boolean)true"
            factory.add_role_from_structure(Gst.Structure.new_from_string(grant))
        server.get_mount_points().add_factory(path, factory)
    assert server.attach(None)
    SERVERS.append(server)
    return str(server.get_bound_port())


SERVERS: list[object] = []


def main(port: str, folder: Path) -> None:
    Gst.init(None)
    clip, files = folder / "clip.mp4", (folder / "certificate.pem", folder / "key.pem")
    tls_port = "0"
    if files[0].exists():
        certificate = Gio.TlsCertificate.new_from_files(*map(str, files))
        tls_port = serve("0", clip, certificate=certificate)
    print(serve(port, clip), serve("0", clip, locked=True), tls_port, flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
