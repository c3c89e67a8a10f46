package import DRPKit
package import Foundation

/// One kind of step of a runbook.
///
/// The engine writes the intent, observes, applies only what is missing, observes again and writes the outcome. After
/// a crash it begins again with observing. So `observe` must look at the world and not at what this process
/// remembers; `apply` must bear being called again after a part of it was done; and both must end soon after their
/// task is cancelled, which is how a deadline reaches them. All of them throw a `DRPError` wherever they can.
package protocol Step: Sendable {
    /// The key in the runbook: `deploy`.
    static var kind: String { get }
    /// The settings that the runbook may give, besides `name`, `deadline` and `retries`.
    static var schema: [SettingSpec] { get }
    /// The deadline and the retries when the runbook names none.
    static var rule: StepRule { get }
    /// Whether it acts on what clients use now: the source, or the records. Such a step is refused in drills.
    static var changesProduction: Bool { get }

    /// What would be done, without doing it. Outcomes of earlier steps are not there yet.
    func plan(_ context: StepContext) async throws -> StepPlan
    /// Whether the step's effect is in the world. Changes nothing.
    func observe(_ context: StepContext) async throws -> Observation
    /// Makes the effect.
    func apply(_ context: StepContext) async throws -> StepOutcome
    /// Takes the effect back, as much of it as is there; twice is once.
    func undo(_ context: StepContext) async throws
    /// What clients would lose if the effect were taken back now, a sentence each. A run that would lose something goes
    /// back only when a person says so.
    func losses(_ context: StepContext) async throws -> [String]
}

extension Step {
    package static var changesProduction: Bool { false }
    package func losses(_ context: StepContext) async throws -> [String] { [] }
}

/// What `Step.observe` found.
package enum Observation: Sendable, Hashable {
    case done(StepOutcome)
    case notDone
    /// The other side could not be asked, or its answer says neither: counts as a failed attempt.
    case cannotTell(String)
}

/// How long a step may take and how often it is tried.
package struct StepRule: Sendable, Hashable, Codable {
    /// For the whole step with all its attempts, counted anew when a run is resumed.
    package var deadline: Duration
    /// Attempts after the first one; they wait 1, 2, 4 … 30 seconds, and only follow errors that may pass.
    package var retries: Int

    package init(deadline: Duration, retries: Int) {
        self.deadline = deadline
        self.retries = retries
    }
}

/// What a step would do.
package struct StepPlan: Sendable, Hashable, Codable {
    package var name: String
    package var kind: String
    /// Sentences for the operator.
    package var lines: [String]
    /// The median of earlier steps of this kind, in seconds; nil (unknown) under three of them. Set by the engine.
    package var predictedSeconds: Double?

    package init(name: String, kind: String, lines: [String]) {
        self.name = name
        self.kind = kind
        self.lines = lines
    }
}

/// Everything that a step gets to know about its run.
package struct StepContext: Sendable {
    package var run: RunID
    package var client: ClientID
    package var mode: RunMode
    /// When the clock of the RTO started.
    package var declared: Date
    /// The step's name in this run; its kind if the runbook gives none.
    package var step: String
    /// What the command gave: `target` and so on.
    package var inputs: [String: String]
    package var settings: StepSettings
    /// Outcomes of the steps before, by name.
    package var outcomes: [String: StepOutcome]
    /// What `apply` returned last in this run, also before a crash; nil if it never came back. A hint: the world may
    /// have changed since, but for a step that leaves no trace in the world (a probe, a notice) it is all there is.
    package var applied: StepOutcome?
    /// What `note` kept, also before a crash.
    package var notes: [String: JSONValue]
    package var clock: any WallClock
    /// When the step will be cancelled.
    package var deadline: Date
    /// The lease `client/NAME`, which the run holds; nil where nothing is carried out.
    package var clientLease: LeaseEntry?
    /// Keeps a fact in the journal before going on (the old records before they are changed).
    package var note: @Sendable (_ name: String, _ value: JSONValue) async throws -> Void
    /// Says what is being done, for the operator who looks on.
    package var progress: @Sendable (_ text: String) -> Void

    package init(
        run: RunID, client: ClientID, mode: RunMode, declared: Date, step: String, inputs: [String: String],
        settings: StepSettings, outcomes: [String: StepOutcome] = [:], applied: StepOutcome? = nil,
        notes: [String: JSONValue] = [:], clock: any WallClock, deadline: Date,
        clientLease: LeaseEntry? = nil,
        note: @escaping @Sendable (String, JSONValue) async throws -> Void = { _, _ in },
        progress: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        self.run = run
        self.client = client
        self.mode = mode
        self.declared = declared
        self.step = step
        self.inputs = inputs
        self.settings = settings
        self.outcomes = outcomes
        self.applied = applied
        self.notes = notes
        self.clock = clock
        self.deadline = deadline
        self.clientLease = clientLease
        self.note = note
        self.progress = progress
    }
}

/// The kinds of steps that there are, given at composition.
package struct StepCatalog: Sendable {
    package struct Entry: Sendable {
        package var kind: String
        package var schema: [SettingSpec]
        package var rule: StepRule
        package var changesProduction: Bool
        /// Makes the step; called for each use, so that a step may hold state of its own use only.
        package var make: @Sendable () -> any Step
    }

    private var entries: [String: Entry] = [:]

    package init() {}

    /// - Precondition: no step of this kind was added before.
    package mutating func add<Kind: Step>(_ make: @escaping @Sendable () -> Kind) {
        precondition(entries[Kind.kind] == nil, "two steps of kind \(Kind.kind)")
        entries[Kind.kind] = Entry(
            kind: Kind.kind, schema: Kind.schema, rule: Kind.rule, changesProduction: Kind.changesProduction, make: make
        )
    }

    package var kinds: [String] { entries.keys.sorted() }
    package subscript(kind: String) -> Entry? { entries[kind] }
    /// What the runbook's validator needs to know.
    package var schemas: [String: StepSchema] {
        entries.mapValues {
            StepSchema(
                settings: $0.schema, deadline: $0.rule.deadline, retries: $0.rule.retries,
                changesProduction: $0.changesProduction)
        }
    }
}
