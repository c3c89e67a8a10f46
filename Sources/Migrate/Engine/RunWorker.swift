internal import DRPKit
internal import Foundation

/// The hands of one run in this process: takes actions from `RunState`, carries them out, reports back.
///
/// Failpoints, for the tests that kill the binary: `run.step.NAME.BOUNDARY` with BOUNDARY one of `before-` or
/// `after-` and `intent`, `observe`, `apply`, `applied`, `observe-after`, `outcome`, `undo-intent`, `undo`, `undone`; and
/// `run.before-finish`, `run.after-finish`.
struct RunWorker {
    private let engine: RunEngine
    private let lease: LeaseEntry
    private let clientLease: LeaseEntry
    private let run: RunEntry
    private let orders: [StepOrder]
    private let makers: [@Sendable () -> any Step]
    private var steps: [StepEntry]
    private var state: RunState
    private var attempt: AttemptKey?
    private let output: RunOutput
    /// Of the current step, for all its attempts in this process.
    private var deadline: (step: Int, date: Date)?

    private var journal: Journal { engine.journal }

    init(engine: RunEngine, report: RunReport, leases: RunLeases) throws {
        self.engine = engine
        lease = leases.run
        clientLease = leases.client
        run = report.run
        steps = report.steps
        orders = try report.steps.map { step in
            guard let order = StepOrder(json: step.settings) else {
                throw RunError(.unknownStep(kind: step.kind), run: report.run.id)
            }
            return order
        }
        makers = try report.steps.map { step in
            guard let entry = engine.catalog[step.kind] else {
                throw RunError(.unknownStep(kind: step.kind), run: report.run.id)
            }
            return entry.make
        }
        let turning = orders.indices.filter { [orders] in orders[$0].failure == .rollback }
        state = RunState(
            steps: report.steps.map(\.state), retries: orders.map(\.retries),
            turning: Set(turning), direction: run.direction)
        output = RunOutput(engine.journal, run: report.run.id)
    }

    /// Until the run is done or waits.
    /// - Throws: `JournalError`; `CancellationError`, after the run was paused on record.
    mutating func work() async throws {
        do { try await workOn() } catch {
            await output.end()
            throw error
        }
        await output.end()
    }

    private mutating func workOn() async throws {
        var event = RunState.Event.started
        do {
            while let next = try await carryOut(state.handle(event)) { event = next }
        } catch is CancellationError {
            // GRDB refuses work to a cancelled task: hence the task of its own.
            let (journal, lease, id) = (journal, lease, run.id)
            try await Task { try await journal.interrupt(id, holding: lease) }.value
            throw CancellationError()
        }
    }

    /// - Returns: nil when nothing follows.
    private mutating func carryOut(_ action: RunState.Action) async throws -> RunState.Event? {
        switch action {
        case .recordIntent(let step):
            hit(step, "before-intent")
            attempt = try await journal.recordIntent(run: run.id, step: step, holding: lease)
            hit(step, "after-intent")
            tell(step, .began(attempt: attempt?.number ?? 1))
            return .intentRecorded
        case .observe(let step):
            let event = try await observe(step, .observing, "observe")
            if case .observed(.done) = event { tell(step, .wasDone) }
            return event
        case .apply(let step):
            try await record(.applying)
            return try await attempting(step, "apply") { try await .applied($0.apply($1)) }
        case .recordApplied(let step, let outcome):
            hit(step, "before-applied")
            try await journal.recordApplied(outcome.json, of: current(step), holding: lease)
            steps[step].applied = outcome.json
            hit(step, "after-applied")
            return .appliedRecorded
        case .observeAfter(let step):
            return try await observe(step, .observingAfter, "observe-after")
        case .recordOutcome(let step, let outcome):
            hit(step, "before-outcome")
            try await journal.recordOutcome(outcome.json, of: current(step), holding: lease)
            steps[step].outcome = outcome.json
            hit(step, "after-outcome")
            tell(step, .done(outcome))
            return .outcomeRecorded
        case .retry(let step, let failure, let pause):
            try await journal.recordFailure(failure.fault, of: current(step), then: .retry, holding: lease)
            tell(step, .failed(failure.fault, retryAfter: pause))
            try await engine.clock.sleep(for: pause)
            return .waited
        case .pause(let step, let failure):
            try await journal.recordFailure(failure.fault, of: current(step), then: .pause, holding: lease)
            tell(step, .failed(failure.fault, retryAfter: nil))
            return nil
        case .turnBack(let step, let failure):
            // Read again: what this process noted is in the journal alone.
            let losses = try await engine.losses(of: try await engine.report(on: run.id))
            guard losses.isEmpty else {
                let why = Fault(
                    code: failure.fault.code,
                    text: "\(failure.fault.text); not taken back by itself, since \(losses.joined(separator: "; "))")
                return try await carryOut(.pause(step: step, StepFailure(why, mayPass: false)))
            }
            try await journal.recordFailure(failure.fault, of: current(step), then: .turnBack, holding: lease)
            tell(step, .turnedBack(failure.fault))
            return .turnedBack
        case .recordUndoIntent(let step):
            hit(step, "before-undo-intent")
            attempt = try await journal.recordIntent(run: run.id, step: step, .back, holding: lease)
            deadline = nil
            hit(step, "after-undo-intent")
            tell(step, .takesBack(attempt: attempt?.number ?? 1))
            return .undoIntentRecorded
        case .undo(let step):
            return try await attempting(step, "undo") {
                try await $0.undo($1)
                return .undone
            }
        case .recordUndone(let step):
            hit(step, "before-undone")
            try await journal.recordUndone(current(step), holding: lease)
            hit(step, "after-undone")
            tell(step, .tookBack)
            return .undoneRecorded
        case .finishBack:
            Failpoint.hit("run.before-finish")
            try await journal.finishBack(run.id, holding: lease)
            Failpoint.hit("run.after-finish")
            return nil
        case .finish:
            Failpoint.hit("run.before-finish")
            try await journal.finish(run.id, holding: lease)
            Failpoint.hit("run.after-finish")
            return nil
        }
    }

    private mutating func observe(_ step: Int, _ phase: AttemptPhase, _ boundary: String) async throws -> RunState.Event
    {
        try await record(phase)
        return try await attempting(step, boundary) { try await .observed($0.observe($1)) }
    }

    /// Calls the step within its deadline; what it throws becomes an event.
    private mutating func attempting(
        _ step: Int, _ boundary: String,
        _ body: @escaping @Sendable (any Step, StepContext) async throws -> RunState.Event
    ) async throws -> RunState.Event {
        let end = deadline(of: step)
        let context = try await context(step, deadline: end)
        let make = makers[step]
        hit(step, "before-\(boundary)")
        do {
            let event = try await withDeadline(end, step) { try await body(make(), context) }
            hit(step, "after-\(boundary)")
            return event
        } catch is CancellationError where Task.isCancelled {
            throw CancellationError()
        } catch let error as JournalError where error.reason == .leaseLost {
            throw error
        } catch {
            return .failed(StepFailure(error))
        }
    }

    /// The first of `body` and the deadline; `body` has ended when this returns.
    private func withDeadline(
        _ end: Date, _ step: Int, _ body: @escaping @Sendable () async throws -> RunState.Event
    ) async throws -> RunState.Event {
        let clock = engine.clock
        let late = RunError(.deadlineExceeded(step: steps[step].name, orders[step].deadline), run: run.id)
        let left = Duration.seconds(end.timeIntervalSince(clock.now))
        guard left > .zero else { throw late }
        return try await withThrowingTaskGroup(of: RunState.Event.self) { group in
            group.addTask { try await body() }
            group.addTask {
                try await clock.sleep(for: left)
                throw late
            }
            defer { group.cancelAll() }
            guard let first = try await group.next() else { throw late }
            return first
        }
    }

    private func context(_ step: Int, deadline: Date) async throws -> StepContext {
        let (journal, lease, key) = (journal, lease, current(step))
        let (progress, output, run, count) = (engine.progress, output, run, steps.count)
        // Read again: the attempt before, in this process, may have noted something.
        let notes = try await journal.steps(of: run.id)[step].notes
        return StepContext(
            run: run.id, client: run.client, mode: run.mode, declared: run.declared, step: steps[step].name,
            inputs: run.inputs, settings: orders[step].settings, outcomes: RunEngine.outcomes(steps),
            applied: StepOutcome(json: steps[step].applied),
            notes: notes.object ?? [:], clock: engine.clock, deadline: deadline, clientLease: clientLease,
            note: { try await journal.note($0, $1, of: key, holding: lease) },
            progress: { text in
                output.say(key.name, text)
                let news = RunProgress.News.says(text)
                progress(
                    RunProgress(
                        run: run.id, client: run.client, step: key.name, ordinal: step, count: count, news: news))
            })
    }

    private mutating func deadline(of step: Int) -> Date {
        if let deadline, deadline.step == step { return deadline.date }
        let date = engine.clock.now.advanced(by: orders[step].deadline)
        deadline = (step, date)
        return date
    }

    private func record(_ phase: AttemptPhase) async throws {
        guard let attempt else { preconditionFailure("phase \(phase) without an intent") }
        try await journal.record(phase: phase, of: attempt, holding: lease)
    }

    private func current(_ step: Int) -> AttemptKey {
        guard let attempt, attempt.step == step else { preconditionFailure("step \(step) without an intent") }
        return attempt
    }

    private func hit(_ step: Int, _ boundary: String) {
        let name = steps[step].name
        Failpoint.hit("run.step.\(name).\(boundary)")
    }

    private func tell(_ step: Int, _ news: RunProgress.News) {
        engine.progress(
            RunProgress(
                run: run.id, client: run.client, step: steps[step].name, ordinal: step, count: steps.count, news: news))
    }
}
