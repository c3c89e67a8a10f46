package import Foundation

/// How a backup or a job ended.
package enum EntryOutcome: String, Sendable, Codable, Hashable { case ok, failed }

/// One try to capture one client into one store.
package struct BackupEntry: Sendable, Codable, Hashable {
    package var id: Int64
    package var client: ClientID
    package var store: StoreName
    /// The number of the manifest; nil until there is one.
    package var number: Int?
    package var started: Date
    /// nil while it runs, and for ever if its process was killed.
    package var finished: Date?
    /// The instant that the backup gives back.
    package var instant: Date?
    package var sourceBytes: ByteCount
    package var newBytes: ByteCount
    package var storedBytes: ByteCount
    package var outcome: EntryOutcome?
    package var errorCode: ErrorCode?
    package var error: String?
    /// Since when the store is known not to have it any more; nil while it has it.
    package var missing: Date?
}

/// One start of a scheduled job.
package struct JobEntry: Sendable, Codable, Hashable {
    package var id: Int64
    package var client: ClientID
    /// As `backup`.
    package var kind: String
    /// For when the schedule wanted it.
    package var due: Date
    package var started: Date
    /// nil while it runs, and for ever if its process was killed.
    package var finished: Date?
    package var outcome: EntryOutcome?
    package var errorCode: ErrorCode?
    package var error: String?
}

/// What a run may do: a drill changes nothing in production.
package enum RunMode: String, Sendable, Codable, Hashable { case drill, real }

/// Where a run stands. `running` without a live holder of the lease `run/ID` means: its process died.
package enum RunStatus: String, Sendable, Codable, Hashable {
    case running, paused, done, cancelled
    case rolledBack = "rolled-back"

    /// Whether `resume` has something to do.
    package var isOpen: Bool { self == .running || self == .paused }
}

/// Whether a run does its steps or takes them back.
package enum RunDirection: String, Sendable, Codable, Hashable { case forward, back }

/// One execution of a runbook.
package struct RunEntry: Sendable, Codable, Hashable {
    package var id: RunID
    /// What it is for: `migrate`, `drill`, `failover`.
    package var kind: String
    package var client: ClientID
    package var runbook: String
    /// SHA-256 of the runbook's file.
    package var runbookHash: ContentHash
    package var mode: RunMode
    package var inputs: [String: String]
    package var state: RunStatus
    package var direction = RunDirection.forward
    /// When the clock of the RTO started.
    package var declared: Date
    package var started: Date
    package var finished: Date?
    /// The process that works or worked on it last.
    package var pid: Int32
    /// Why it is paused or was cancelled.
    package var errorCode: ErrorCode?
    package var error: String?

    package init(
        id: RunID, kind: String, client: ClientID, runbook: String, runbookHash: ContentHash, mode: RunMode,
        inputs: [String: String], state: RunStatus = .running, declared: Date, started: Date, finished: Date? = nil,
        pid: Int32 = ProcessIdentity.current.pid, errorCode: ErrorCode? = nil, error: String? = nil
    ) {
        self.id = id
        self.kind = kind
        self.client = client
        self.runbook = runbook
        self.runbookHash = runbookHash
        self.mode = mode
        self.inputs = inputs
        self.state = state
        self.declared = declared
        self.started = started
        self.finished = finished
        self.pid = pid
        self.errorCode = errorCode
        self.error = error
    }
}

package enum StepStatus: String, Sendable, Codable, Hashable {
    case pending, active, failed, done
    /// Left out by a person, on record.
    case skipped
    /// Taken back.
    case undone

    /// Whether the run goes on behind it.
    package var isOver: Bool { self == .done || self == .skipped }
    /// Whether there may be something of it in the world.
    package var isTouched: Bool { self != .pending && self != .undone }
}

/// One step of a run, with everything that a resume needs: the runbook's file may have changed since.
package struct StepEntry: Sendable, Codable, Hashable {
    package var run: RunID
    /// From 0.
    package var ordinal: Int
    package var kind: String
    /// Unique in its run.
    package var name: String
    /// With the inputs put in.
    package var settings: JSONValue
    package var state: StepStatus
    package var started: Date?
    package var finished: Date?
    /// What the step wrote down while it worked, an object.
    package var notes: JSONValue
    /// What `apply` returned last; nil if it never came back.
    package var applied: JSONValue?
    package var outcome: JSONValue?

    package init(run: RunID, ordinal: Int, kind: String, name: String, settings: JSONValue) {
        self.run = run
        self.ordinal = ordinal
        self.kind = kind
        self.name = name
        self.settings = settings
        self.state = .pending
        self.notes = .object([:])
    }
}

/// How far an attempt came; written before the engine does what it names.
package enum AttemptPhase: String, Sendable, Codable, Hashable {
    case intent, observing, applying
    case observingAfter = "observing-after"
    case outcome
}

/// One attempt at a step.
package struct AttemptEntry: Sendable, Codable, Hashable {
    package var run: RunID
    package var step: Int
    /// From 1, over all processes that worked on the run.
    package var number: Int
    package var direction = RunDirection.forward
    package var phase: AttemptPhase
    package var started: Date
    /// nil while it runs, and for ever if its process was killed.
    package var finished: Date?
    package var errorCode: ErrorCode?
    package var error: String?
}

/// Something that happened; never changed, never deleted.
package struct EventEntry: Sendable, Codable, Hashable {
    /// From 1, without holes.
    package var id: Int64
    package var at: Date
    /// As `run.started`, `step.applied`, `backup.finished`.
    package var kind: String
    package var client: ClientID?
    package var run: RunID?
    /// The step's name.
    package var step: String?
    package var payload: JSONValue
    /// See `EventChain`.
    package var hash: ContentHash
}

/// The right of one holder to do what must not be done twice at once.
package struct LeaseEntry: Sendable, Codable, Hashable {
    /// As `client/acme`, `run/ID`.
    package var name: String
    /// Differs for each time that a lease was taken.
    package var instance: UUID
    /// Rises by one each time that this name is taken.
    package var fence: Int64
    package var pid: Int32
    /// See `ProcessIdentity`.
    package var pidStarted: String
    package var machine: String
    package var since: Date
    /// When the holder last said that it lives.
    package var beat: Date
    /// Seconds without a heartbeat after which the lease is over though its process lives; nil: never.
    package var lasts: Int64?

    package enum HolderState: Sendable {
        case alive
        /// Its process has ended.
        case gone
        /// It said nothing for too long; it may be stopped, and wake up.
        case silent
    }

    /// After this long without a heartbeat a holder that cannot be looked up here (another container, another start
    /// of the machine with a clock that jumped) counts as silent.
    private static let longestSilence: TimeInterval = 300

    /// - Parameter silence: seconds since it last said that it lives, by the clock of the place where it said so.
    package func state(silentFor silence: TimeInterval) -> HolderState {
        let me = ProcessIdentity.current
        guard machine == me.machine else {
            return silence > lasts.map(TimeInterval.init) ?? Self.longestSilence ? .silent : .alive
        }
        if ProcessIdentity.startTicks(of: pid) != pidStarted { return .gone }
        return lasts.map { silence > TimeInterval($0) } ?? false ? .silent : .alive
    }
}

/// Where a client lives since a switch.
package struct Placement: Sendable, Codable, Hashable {
    package var client: ClientID
    package var site: SiteName
    /// The owner epoch: rises at every switch.
    package var epoch: Int64
    /// How to reach the client's services there: addresses and paths of secret files, never a secret.
    package var services: JSONValue
    package var run: RunID?
    package var at: Date

    package init(client: ClientID, site: SiteName, epoch: Int64, services: JSONValue, run: RunID?, at: Date) {
        self.client = client
        self.site = site
        self.epoch = epoch
        self.services = services
        self.run = run
        self.at = at
    }
}
