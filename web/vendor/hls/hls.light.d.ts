/** The part of hls.js 1.7's types that the watch page uses. */

export interface Level {
  height: number;
  width: number;
  bitrate: number;
  averageBitrate: number;
}

export interface ErrorData {
  type: string;
  details: string;
  fatal: boolean;
  response?: { code: number };
}

export interface LevelDetails {
  live: boolean;
  fragmentStart: number;
  edge: number;
}

export default class Hls {
  static isSupported(): boolean;
  static readonly Events: {
    MANIFEST_PARSED: 'hlsManifestParsed';
    LEVEL_SWITCHED: 'hlsLevelSwitched';
    LEVEL_UPDATED: 'hlsLevelUpdated';
    FRAG_BUFFERED: 'hlsFragBuffered';
    ERROR: 'hlsError';
  };
  static readonly ErrorTypes: { NETWORK_ERROR: string; MEDIA_ERROR: string };
  constructor(config: Record<string, unknown>);
  readonly levels: Level[];
  readonly currentLevel: number;
  loadLevel: number;
  readonly autoLevelEnabled: boolean;
  readonly latestLevelDetails: LevelDetails | null;
  readonly liveSyncPosition: number | null;
  readonly playingDate: Date | null;
  loadSource(url: string): void;
  attachMedia(video: HTMLVideoElement): void;
  startLoad(position?: number): void;
  recoverMediaError(): void;
  destroy(): void;
  on(event: 'hlsError', listener: (name: string, data: ErrorData) => void): void;
  on(event: 'hlsLevelSwitched', listener: (name: string, data: { level: number }) => void): void;
  on(event: 'hlsManifestParsed' | 'hlsLevelUpdated' | 'hlsFragBuffered', listener: (name: string, data: unknown) => void): void;
}
