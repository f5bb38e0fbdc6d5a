// A WHIP client of a few lines, as a page would write one. `whip.publish` resolves with the connected session.
globalThis.whip = {
  async publish(endpoint, token, { width = 640, height = 360, encodings = undefined, kinds = ["audio", "video"] } = {}) {
    const media = await navigator.mediaDevices.getUserMedia({
      audio: kinds.includes("audio"),
      video: kinds.includes("video") && { width, height, frameRate: 15 },
    });
    const pc = new RTCPeerConnection();
    for (const kind of kinds) {
      const [track] = media.getTracks().filter((one) => one.kind === kind);
      pc.addTransceiver(track, { direction: "sendonly", sendEncodings: kind === "video" ? encodings : undefined });
    }
    await pc.setLocalDescription();
    const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/sdp" };
    const created = await fetch(endpoint, { method: "POST", headers, body: pc.localDescription.sdp });
    if (created.status !== 201) return { status: created.status, problem: await created.json() };
    await pc.setRemoteDescription({ type: "answer", sdp: await created.text() });
    const url = new URL(created.headers.get("Location"), endpoint).href;
    Object.assign(whip, { pc, token, url, etag: created.headers.get("ETag") });
    return { status: created.status, url, etag: whip.etag };
  },

  send(method, headers = {}, body = undefined) {
    return fetch(whip.url, { method, headers: { Authorization: `Bearer ${whip.token}`, ...headers }, body });
  },

  async restart() {
    const offer = await whip.pc.createOffer({ iceRestart: true });
    await whip.pc.setLocalDescription(offer);
    const fragment = offer.sdp.match(/a=ice-(?:ufrag|pwd):.*\r\n/g).slice(0, 2).join("");
    const type = "application/trickle-ice-sdpfrag";
    const answer = await whip.send("PATCH", { "If-Match": "*", "Content-Type": type }, fragment);
    const [ufrag, pwd] = (await answer.text()).match(/a=ice-(?:ufrag|pwd):.*(?=\r\n)/g);
    const sdp = whip.pc.remoteDescription.sdp.replace(/a=ice-ufrag:.*(?=\r\n)/g, ufrag).replace(/a=ice-pwd:.*(?=\r\n)/g, pwd);
    await whip.pc.setRemoteDescription({ type: "answer", sdp });
    whip.etag = answer.headers.get("ETag");
    return { status: answer.status, etag: whip.etag };
  },
};
