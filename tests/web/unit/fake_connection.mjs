/** Transceivers, offers and rollbacks as in Chromium, as far as the publisher depends on them. */
class Transceiver {
  mid = null;
  stopped = false;
  constructor(kind, { direction, sendEncodings = [] }) {
    this.direction = direction;
    this.receiver = { track: { kind } };
    this.sender = {
      encodings: sendEncodings,
      sent: kind,
      getParameters: () => structuredClone({ encodings: this.sender.encodings }),
      setParameters: async ({ encodings }) => void (this.sender.encodings = encodings),
      replaceTrack: async (track) => void (this.sender.sent = track),
    };
  }
  setCodecPreferences() {}
  stop() {
    this.stopped = true;
    this.direction = 'stopped';
  }
}

export class Connection extends EventTarget {
  static all = [];
  signalingState = 'stable';
  connectionState = 'new';
  transceivers = [];
  rollbacks = 0;
  #next = 0;
  #fresh = [];
  constructor() {
    super();
    Connection.all.push(this);
  }
  createDataChannel() {
    return { readyState: 'open', send() {} };
  }
  addTransceiver(sent, options) {
    const transceiver = new Transceiver(sent.kind ?? sent, options);
    this.transceivers.push(transceiver);
    return transceiver;
  }
  restartIce() {}
  getConfiguration() {
    return {};
  }
  setConfiguration() {}
  async createOffer() {
    return { type: 'offer', sdp: 'offer' };
  }
  async setLocalDescription(description) {
    if (description.type === 'rollback') {
      this.rollbacks += 1;
      for (const transceiver of this.#fresh) transceiver.mid = null;
      this.signalingState = 'stable';
      return;
    }
    if (this.transceivers.some(({ mid, stopped }) => stopped && mid === null)) {
      throw new Error('Transceiver type does not match media description type.');
    }
    this.#fresh = this.transceivers.filter(({ mid }) => mid === null);
    for (const transceiver of this.#fresh) transceiver.mid = String(this.#next++);
    this.localDescription = description;
    this.signalingState = 'have-local-offer';
  }
  async setRemoteDescription() {
    this.signalingState = 'stable';
    this.#fresh = [];
    // The answer names all layers: Chromium takes that for a request.
    for (const { sender } of this.transceivers) for (const encoding of sender.encodings) encoding.active = true;
  }
  close() {
    this.signalingState = 'closed';
  }
}
