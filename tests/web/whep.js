// A WHEP client of a few lines, as a page would write one. `whep.play` resolves when the session is negotiated.
globalThis.whep = {
  async play(endpoint, token, { kinds = ["audio", "video"] } = {}) {
    const pc = new RTCPeerConnection();
    for (const kind of kinds) pc.addTransceiver(kind, { direction: "recvonly" });
    const video = whep.show(pc);
    const picture = new Promise((resolve) => video.requestVideoFrameCallback(() => resolve(performance.now())));
    await pc.setLocalDescription();
    const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/sdp" };
    const started = performance.now();
    const created = await fetch(endpoint, { method: "POST", headers, body: pc.localDescription.sdp });
    if (created.status !== 201) return { status: created.status, problem: await created.json() };
    const url = new URL(created.headers.get("Location"), endpoint).href;
    const links = created.headers.get("Link");
    Object.assign(whep, { pc, token, url, video, links, etag: created.headers.get("ETag") });
    whep.firstPicture = picture.then((at) => at - started);
    await pc.setRemoteDescription({ type: "answer", sdp: await created.text() });
    return { status: created.status, url, etag: whep.etag, links };
  },

  // An element that plays what a connection receives.
  show(pc) {
    const video = document.createElement("video");
    Object.assign(video, { autoplay: true, srcObject: pc && new MediaStream() });
    document.body.append(video);
    if (pc) {
      whep.pc = pc;
      pc.ontrack = ({ track }) => {
        video.srcObject.addTrack(track);
        void video.play();
      };
    }
    return video;
  },

  send(method, headers = {}, body = undefined, path = "") {
    return fetch(whep.url + path, { method, headers: { Authorization: `Bearer ${whep.token}`, ...headers }, body });
  },

  async received() {
    const stats = [...(await whep.pc.getStats()).values()].filter((one) => one.type === "inbound-rtp");
    return Object.fromEntries(stats.map((one) => [one.kind, one]));
  },

  // Size and codec of the picture.
  async picture() {
    const stats = await whep.pc.getStats();
    const video = [...stats.values()].find((one) => one.type === "inbound-rtp" && one.kind === "video");
    return video && { width: video.frameWidth, height: video.frameHeight, codec: stats.get(video.codecId)?.mimeType };
  },

  // Waits until the numbers of received frames and of sound energy have grown.
  async watches(frames = 10) {
    const before = await whep.received();
    for (;;) {
      const { video, audio } = await whep.received();
      const seen = video?.framesDecoded >= (before.video?.framesDecoded ?? 0) + frames;
      const heard = audio?.totalAudioEnergy > (before.audio?.totalAudioEnergy ?? 0);
      if (seen && heard) return whep.picture();
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  },

  async state() {
    const { connectionState, iceConnectionState, remoteDescription } = whep.pc;
    return JSON.stringify({ connectionState, iceConnectionState, received: await whep.received(), remoteDescription }, null, 1);
  },

  async restart() {
    const offer = await whep.pc.createOffer({ iceRestart: true });
    await whep.pc.setLocalDescription(offer);
    const fragment = offer.sdp.match(/a=ice-(?:ufrag|pwd):.*\r\n/g).slice(0, 2).join("");
    const type = "application/trickle-ice-sdpfrag";
    const answer = await whep.send("PATCH", { "If-Match": "*", "Content-Type": type }, fragment);
    const [ufrag, pwd] = (await answer.text()).match(/a=ice-(?:ufrag|pwd):.*(?=\r\n)/g);
    const sdp = whep.pc.remoteDescription.sdp.replace(/a=ice-ufrag:.*(?=\r\n)/g, ufrag).replace(/a=ice-pwd:.*(?=\r\n)/g, pwd);
    await whep.pc.setRemoteDescription({ type: "answer", sdp });
    whep.etag = answer.headers.get("ETag");
    return { status: answer.status, etag: whep.etag };
  },
};
