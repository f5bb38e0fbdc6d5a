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

export interface Part {
  readonly loaded: boolean;
  gap: boolean;
  readonly fragment: { sn: number | string };
}

export interface LevelDetails {
  live: boolean;
  fragmentStart: number;
  edge: number;
  readonly partList: Part[] | null;
}

export interface LoaderStats {
  aborted: boolean;
  loaded: number;
  total: number;
  loading: { start: number; first: number; end: number };
}

export interface Fragment {
  stats: LoaderStats;
  abortRequests(): void;
}

export class AbrController {
  constructor(hls: Hls);
  readonly hls: Hls | null;
  readonly fragCurrent: Fragment | null;
  readonly partCurrent: { stats: LoaderStats } | null;
  get firstAutoLevel(): number;
  get nextAutoLevel(): number;
  set nextAutoLevel(level: number);
  onFragLoading(name: string, data: unknown): void;
  clearTimer(): void;
}

export default class Hls {
  static readonly DefaultConfig: { abrController: typeof AbrController };
  static isSupported(): boolean;
  static readonly Events: {
    MANIFEST_PARSED: 'hlsManifestParsed';
    LEVEL_SWITCHED: 'hlsLevelSwitched';
    LEVEL_UPDATED: 'hlsLevelUpdated';
    FRAG_BUFFERED: 'hlsFragBuffered';
    FRAG_LOAD_EMERGENCY_ABORTED: 'hlsFragLoadEmergencyAborted';
    ERROR: 'hlsError';
  };
  static readonly ErrorTypes: { NETWORK_ERROR: string; MEDIA_ERROR: string };
  constructor(config: Record<string, unknown>);
  readonly levels: Level[];
  readonly currentLevel: number;
  loadLevel: number;
  readonly autoLevelEnabled: boolean;
  readonly minAutoLevel: number;
  readonly maxAutoLevel: number;
  readonly latestLevelDetails: LevelDetails | null;
  readonly liveSyncPosition: number | null;
  readonly startPosition: number;
  readonly playingDate: Date | null;
  loadSource(url: string): void;
  attachMedia(video: HTMLVideoElement): void;
  startLoad(position?: number): void;
  stopLoad(): void;
  recoverMediaError(): void;
  destroy(): void;
  trigger(event: 'hlsFragLoadEmergencyAborted', data: unknown): void;
  on(event: 'hlsError', listener: (name: string, data: ErrorData) => void): void;
  on(event: 'hlsLevelSwitched', listener: (name: string, data: { level: number }) => void): void;
  on(event: 'hlsLevelUpdated', listener: (name: string, data: { details: LevelDetails }) => void): void;
  on(event: 'hlsManifestParsed' | 'hlsFragBuffered', listener: (name: string, data: unknown) => void): void;
}
