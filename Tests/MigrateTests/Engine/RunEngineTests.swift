import DRPKit
import Foundation
import Synchronization
import Testing

@testable import Migrate

@Suite("RunEngine")
struct RunEngineTests {
    private static let acme = ClientID(unchecked: "acme")

    private static func runbook(_ steps: String) throws -> Runbook {
        try RunbookReader.read(
            bytes: Array("runbook: migrate\nabout: Move\nfor: client\nsteps:\n\(steps)".utf8), file: "r.yaml",
            schemas: catalog(World()).schemas)
    }

    private static func catalog(_ world: World) -> StepCatalog {
        var catalog = StepCatalog()
        catalog.add { FakeStep(world: world) }
        return catalog
    }

    private static let three = """
          - fake: {name: one, value: "${target}"}
          - fake: {name: two, deadline: 20s, retries: 2}
          - fake: {name: three}
        """

    private static func withJournal(_ body: (Journal, TestClock, String) async throws -> Void) async throws {
        let folder = NSTemporaryDirectory() + "drp-engine-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let clock = TestClock()
        try await body(try await Journal.open(folder: folder, clock: clock), clock, folder)
    }

    @Test("a run does its steps in order, and the journal tells all of it")
    func happy() async throws {
        try await Self.withJournal { journal, clock, _ in
            let world = World()
            let engine = RunEngine(journal: journal, catalog: Self.catalog(world), clock: clock)
            let report = try await engine.start(
                try Self.runbook(Self.three), client: Self.acme, inputs: ["target": "dc5"])
            #expect(report.run.state == .done)
            #expect(report.error == nil)
            #expect(world.applied == ["one", "two", "three"])
            #expect(report.run.id.text.hasPrefix("20261125-093012-acme-migrate-"))
            #expect(report.steps.map(\.state) == [.done, .done, .done])
            #expect(report.steps[0].outcome == ["value": "dc5"])
            #expect(report.steps[2].outcome == ["seen": ["one", "two"]])
            #expect(report.attempts.map(\.number) == [1, 1, 1])
            let kinds = try await journal.events(run: report.run.id).map(\.kind)
            let step = ["intent", "observing", "applying", "note", "applied", "observing-after", "done"]
                .map { "step.\($0)" }
            #expect(kinds == ["run.started"] + step + step + step + ["run.done"])
            #expect(try await journal.verifyEvents().problems.isEmpty)
            #expect(try await journal.leases().isEmpty)
        }
    }

    @Test("a failed step pauses the run; resume observes first and applies only what is missing")
    func pauseAndResume() async throws {
        try await Self.withJournal { journal, clock, _ in
            let world = World()
            // The effect is there, but the answer got lost, for all attempts: 1 + 2 retries.
            world.fail("two", times: 3, afterEffect: true)
            let engine = RunEngine(journal: journal, catalog: Self.catalog(world), clock: clock)
            world.hide("two")
            let first = try await engine.start(
                try Self.runbook(Self.three), client: Self.acme, inputs: ["target": "dc5"])
            #expect(first.run.state == .paused)
            #expect(first.error?.code == .stepFailed)
            #expect(first.error?.message.contains("step two: the target is gone [E3001]") == true)
            #expect(first.attempts.filter { $0.step == 1 }.map(\.number) == [1, 2, 3])
            #expect(clock.slept == [.seconds(1), .seconds(2)])
            world.show("two")
            let before = world.applied
            let second = try await engine.resume(first.run.id)
            #expect(second.run.state == .done)
            #expect(world.applied == before + ["three"])
            await #expect(throws: RunError(.ended(.done), run: first.run.id)) { try await engine.resume(first.run.id) }
        }
    }

    @Test("an error that does not mend itself is not tried again")
    func permanent() async throws {
        try await Self.withJournal { journal, clock, _ in
            let world = World()
            world.fail("two", times: 1, code: .targetDiffers)
            let engine = RunEngine(journal: journal, catalog: Self.catalog(world), clock: clock)
            let report = try await engine.start(
                try Self.runbook(Self.three), client: Self.acme, inputs: ["target": "x"])
            #expect(report.run.errorCode == .targetDiffers)
            #expect(report.attempts.count == 2)
        }
    }

    @Test("a step that does not end is stopped at its deadline, and the run waits")
    func deadline() async throws {
        try await Self.withJournal { journal, clock, _ in
            let world = World()
            world.hang("two")
            let engine = RunEngine(journal: journal, catalog: Self.catalog(world), clock: clock)
            async let report = engine.start(
                try Self.runbook(Self.three), client: Self.acme, inputs: ["target": "x"])
            await clock.waitForSleeper(FakeStep.hang)
            await clock.waitForSleeper(.seconds(20))
            clock.wake(.seconds(20))
            #expect(try await report.run.errorCode == .deadlineExceeded)
            #expect(try await report.run.state == .paused)
        }
    }

    @Test("what is cancelled is paused on record, gives its leases back, and goes on when resumed")
    func cancellation() async throws {
        try await Self.withJournal { journal, clock, _ in
            let world = World()
            world.hang("two")
            let engine = RunEngine(journal: journal, catalog: Self.catalog(world), clock: clock)
            let runbook = try Self.runbook(Self.three)
            let task = Task { try await engine.start(runbook, client: Self.acme, inputs: ["target": "x"]) }
            await clock.waitForSleeper(FakeStep.hang)
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
            let run = try #require(try await journal.openRuns(client: Self.acme).first)
            #expect(run.state == .paused)
            #expect(run.error == "it was interrupted")
            #expect(try await journal.leases().isEmpty)
            world.show("two")
            #expect(try await engine.resume(run.id).run.state == .done)
        }
    }

    @Test("a second run of a client is refused while one is not finished, and can take its place on record")
    func unfinished() async throws {
        try await Self.withJournal { journal, clock, _ in
            let world = World()
            world.fail("two", times: 9, code: .targetDenied)
            let engine = RunEngine(journal: journal, catalog: Self.catalog(world), clock: clock)
            let runbook = try Self.runbook(Self.three)
            let first = try await engine.start(runbook, client: Self.acme, inputs: ["target": "x"])
            await #expect(throws: RunError(.unfinished, run: first.run.id)) {
                try await engine.start(runbook, client: Self.acme, inputs: ["target": "x"])
            }
            let second = try await engine.start(
                runbook, client: Self.acme, inputs: ["target": "x"], unfinished: .supersede)
            #expect(try await journal.run(first.run.id)?.state == .cancelled)
            #expect(second.run.state == .paused)
        }
    }

    @Test("a client on which somebody works is refused, naming the process")
    func leased() async throws {
        try await Self.withJournal { journal, clock, folder in
            let other = try await Journal.open(folder: folder, clock: clock)
            let lease = try await other.acquireLease("client/acme")
            let engine = RunEngine(journal: journal, catalog: Self.catalog(World()), clock: clock)
            let runbook = try Self.runbook(Self.three)
            let error = await #expect(throws: JournalError.self) {
                try await engine.start(runbook, client: Self.acme, inputs: ["target": "x"])
            }
            #expect(error?.code == .repositoryLeased)
            #expect(error?.message.contains("process \(lease.pid)") == true)
            #expect(try await journal.runs().isEmpty)
        }
    }

    @Test("a plan changes nothing, and predicts once three runs are on record")
    func plan() async throws {
        try await Self.withJournal { journal, clock, _ in
            let world = World()
            let engine = RunEngine(journal: journal, catalog: Self.catalog(world), clock: clock)
            let runbook = try Self.runbook(Self.three)
            let plans = try await engine.plan(runbook, client: Self.acme, inputs: ["target": "dc5"])
            #expect(plans.map(\.name) == ["one", "two", "three"])
            #expect(plans[0].lines == ["would set dc5"])
            #expect(plans[0].predictedSeconds == nil)
            #expect(world.applied.isEmpty)
            #expect(try await journal.events().isEmpty)
            _ = try await engine.start(runbook, client: Self.acme, inputs: ["target": "dc5"])
            let later = try await engine.plan(runbook, client: Self.acme, inputs: ["target": "dc5"])
            #expect(later[0].predictedSeconds == 0)
            await #expect(throws: RunbookError.self) { try await engine.plan(runbook, client: Self.acme, inputs: [:]) }
        }
    }

    @Test("a step that waits is left out with a reason on record, and what follows is done")
    func skip() async throws {
        try await Self.withJournal { journal, clock, _ in
            let world = World()
            world.fail("two", times: 9, code: .targetDenied)
            let engine = RunEngine(journal: journal, catalog: Self.catalog(world), clock: clock)
            let first = try await engine.start(
                try Self.runbook(Self.three), client: Self.acme, inputs: ["target": "x"])
            let second = try await engine.skip(first.run.id, by: "ana", reason: "done by hand")
            #expect(second.run.state == .done)
            #expect(second.steps.map(\.state) == [.done, .skipped, .done])
            #expect(world.applied == ["one", "three"])
            #expect(second.steps[1].outcome == ["skipped": "done by hand"])
            let event = try await journal.events(run: first.run.id).first { $0.kind == "step.skipped" }
            #expect(event?.payload == ["by": "ana", "reason": "done by hand"])
            await #expect(throws: RunError(.ended(.done), run: first.run.id)) {
                try await engine.skip(first.run.id, by: "ana", reason: "again")
            }
        }
    }

    @Test("a run is tried again from an earlier step, whose effect is looked at first")
    func retryFrom() async throws {
        try await Self.withJournal { journal, clock, _ in
            let world = World()
            world.fail("three", times: 1, code: .targetDenied)
            let engine = RunEngine(journal: journal, catalog: Self.catalog(world), clock: clock)
            let first = try await engine.start(
                try Self.runbook(Self.three), client: Self.acme, inputs: ["target": "x"])
            world.lose("two")
            let second = try await engine.retry(first.run.id, from: "one", by: "ana")
            #expect(second.run.state == .done)
            // The first one was still there.
            #expect(world.applied == ["one", "two", "two", "three"])
            let other = try await engine.start(
                try Self.runbook(Self.three), client: Self.acme, inputs: ["target": "x"])
            await #expect(throws: RunError(.ended(.done), run: other.run.id)) {
                try await engine.retry(other.run.id, from: "nowhere", by: "ana")
            }
        }
    }

    @Test("a rollback takes back what was done in reverse, the failed step included, and is a state of its own")
    func rollback() async throws {
        try await Self.withJournal { journal, clock, _ in
            let world = World()
            world.fail("two", times: 9, code: .targetDenied)
            let engine = RunEngine(journal: journal, catalog: Self.catalog(world), clock: clock)
            let first = try await engine.start(
                try Self.runbook(Self.three), client: Self.acme, inputs: ["target": "x"])
            let back = try await engine.rollBack(first.run.id, by: "ana", reason: "not tonight", accepts: false)
            #expect(back.run.state == .rolledBack && back.run.direction == .back)
            #expect(world.undone == ["two", "one"])
            #expect(back.steps.map(\.state) == [.undone, .undone, .pending])
            #expect(try await journal.openRuns().isEmpty)
            #expect(try await journal.verifyEvents().problems.isEmpty)
            let kinds = try await journal.events(run: first.run.id).map(\.kind)
            #expect(
                kinds.filter { $0.hasPrefix("run.") } == [
                    "run.started", "run.paused", "run.turned-back", "run.resumed", "run.rolled-back",
                ])
        }
    }

    @Test("what clients would lose by a rollback is told, and only a person takes it back then")
    func losses() async throws {
        try await Self.withJournal { journal, clock, _ in
            let world = World()
            world.fail("two", times: 9, code: .targetDenied)
            world.lossy("one", "12 writes since")
            let engine = RunEngine(journal: journal, catalog: Self.catalog(world), clock: clock)
            let steps = "  - fake: {name: one}\n  - fake: {name: two, on-failure: rollback}\n"
            let first = try await engine.start(try Self.runbook(steps), client: Self.acme, inputs: [:])
            #expect(first.run.state == .paused && first.run.direction == .forward)
            #expect(first.error?.message.contains("12 writes since") == true)
            await #expect(throws: RunError(.wouldLose(["12 writes since"]), run: first.run.id)) {
                try await engine.rollBack(first.run.id, by: "ana", reason: "x", accepts: false)
            }
            #expect(world.undone.isEmpty)
            let back = try await engine.rollBack(first.run.id, by: "ana", reason: "x", accepts: true)
            #expect(back.run.state == .rolledBack)
        }
    }

    @Test("a step can take the whole run back by itself when it fails; a way back that fails waits and goes on")
    func turnsBackByItself() async throws {
        try await Self.withJournal { journal, clock, _ in
            let world = World()
            world.fail("two", times: 9, code: .targetDiffers)
            world.stick("one", times: 1)
            let engine = RunEngine(journal: journal, catalog: Self.catalog(world), clock: clock)
            let steps = "  - fake: {name: one}\n  - fake: {name: two, on-failure: rollback}\n"
            let first = try await engine.start(try Self.runbook(steps), client: Self.acme, inputs: [:])
            #expect(first.run.state == .paused && first.run.direction == .back)
            #expect(world.undone == ["two"])
            let second = try await engine.resume(first.run.id)
            #expect(second.run.state == .rolledBack)
            #expect(world.undone == ["two", "one"])
        }
    }

    @Test("what steps say is in the journal, in order")
    func output() async throws {
        try await Self.withJournal { journal, clock, _ in
            let engine = RunEngine(journal: journal, catalog: Self.catalog(World()), clock: clock)
            let report = try await engine.start(
                try Self.runbook(Self.three), client: Self.acme, inputs: ["target": "x"])
            let lines = try await journal.output(of: report.run.id)
            #expect(lines.map(\.text) == ["one goes", "two goes", "three goes"])
            #expect(try await journal.output(of: report.run.id, after: lines[1].id).map(\.step) == ["three"])
        }
    }

    @Test("steps of another mode are left out")
    func modes() async throws {
        try await Self.withJournal { journal, clock, _ in
            let world = World()
            let engine = RunEngine(journal: journal, catalog: Self.catalog(world), clock: clock)
            let steps =
                "  - fake: {name: one}\n  - fake: {name: two, modes: [real]}\n  - fake: {name: three, modes: [drill]}\n"
            let report = try await engine.start(
                try Self.runbook(steps), client: Self.acme, inputs: [:], mode: .drill)
            #expect(report.run.state == .done && world.applied == ["one", "three"])
            #expect(throws: RunbookError.self) { try Self.runbook("  - fake: {modes: [production]}\n") }
        }
    }
}

/// The other side: what is there outlives a run; what goes wrong is set by the test.
private final class World: Sendable {
    struct State {
        var effects: [String: JSONValue] = [:]
        var makers: [String: RunID] = [:]
        var applied: [String] = []
        var failures: [String: (left: Int, code: ErrorCode, afterEffect: Bool)] = [:]
        var hidden: Set<String> = []
        var hanging: Set<String> = []
        var undone: [String] = []
        var losses: [String: String] = [:]
        var sticks: [String: Int] = [:]
    }

    let state = Mutex(State())
    var applied: [String] { state.withLock { $0.applied } }

    func fail(_ step: String, times: Int, code: ErrorCode = .targetUnreachable, afterEffect: Bool = false) {
        state.withLock { $0.failures[step] = (times, code, afterEffect) }
    }
    var undone: [String] { state.withLock { $0.undone } }
    func lose(_ step: String) { state.withLock { $0.effects[step] = nil } }
    func lossy(_ step: String, _ text: String) { state.withLock { $0.losses[step] = text } }
    func stick(_ step: String, times: Int) { state.withLock { $0.sticks[step] = times } }
    func hide(_ step: String) { state.withLock { _ = $0.hidden.insert(step) } }
    func hang(_ step: String) { state.withLock { _ = $0.hanging.insert(step) } }
    func show(_ step: String) {
        state.withLock {
            $0.hidden.remove(step)
            $0.hanging.remove(step)
        }
    }
}

private struct WorldError: DRPError {
    var code: ErrorCode
    var message: String { "the target is gone" }
}

private struct FakeStep: Migrate.Step {
    static let kind = "fake"
    static let schema = [SettingSpec("value", .text, about: "what to set")]
    /// How long a step sleeps that never ends.
    static let hang = Duration.seconds(1_000_000)
    static let rule = StepRule(deadline: .seconds(60), retries: 0)
    let world: World

    func plan(_ context: StepContext) async throws -> StepPlan {
        StepPlan(name: "", kind: "", lines: ["would set \(context.settings.text("value") ?? "nothing")"])
    }

    func observe(_ context: StepContext) async throws -> Observation {
        let (effect, isHidden) = world.state.withLock { ($0.effects[context.step], $0.hidden.contains(context.step)) }
        guard let effect, !isHidden else { return .notDone }
        if world.state.withLock({ $0.makers[context.step] }) == context.run {
            #expect(context.notes["old"] == "records")
        }
        guard case .object(let facts) = effect else { return .cannotTell("no object") }
        return .done(StepOutcome(facts))
    }

    func apply(_ context: StepContext) async throws -> StepOutcome {
        try await context.note("old", "records")
        context.progress("\(context.step) goes")
        if world.state.withLock({ $0.hanging.contains(context.step) }) {
            try await context.clock.sleep(for: Self.hang)
        }
        let seen = context.outcomes.keys.sorted().map { JSONValue.text($0) }
        let facts: JSONValue =
            if let value = context.settings.text("value") { ["value": .text(value)] } else { ["seen": .list(seen)] }
        try world.state.withLock { state in
            var failure = state.failures[context.step]
            let fails = (failure?.left ?? 0) > 0
            failure?.left -= 1
            state.failures[context.step] = failure
            if let failure, fails, !failure.afterEffect { throw WorldError(code: failure.code) }
            state.effects[context.step] = facts
            state.makers[context.step] = context.run
            state.applied.append(context.step)
            if let failure, fails { throw WorldError(code: failure.code) }
        }
        return StepOutcome(json: facts) ?? [:]
    }

    func undo(_ context: StepContext) async throws {
        try world.state.withLock { state in
            if let left = state.sticks[context.step], left > 0 {
                state.sticks[context.step] = left - 1
                throw WorldError(code: .targetDenied)
            }
            state.effects[context.step] = nil
            state.undone.append(context.step)
        }
    }

    func losses(_ context: StepContext) async throws -> [String] {
        // Who asks must bring what the step noted, or it can count nothing.
        guard context.notes["old"] != nil else { return [] }
        return world.state.withLock { $0.losses[context.step].map { [$0] } ?? [] }
    }
}

/// Stands still. Sleeps under 10 s (pauses between attempts) end at once and are counted; longer ones end by `wake`
/// or by cancellation.
private final class TestClock: WallClock {
    private struct State {
        var now = Date(timeIntervalSince1970: 1_795_599_012)
        var slept: [Duration] = []
        var sleepers: [UUID: (Duration, CheckedContinuation<Void, any Error>)] = [:]
        var watchers: [(Duration, CheckedContinuation<Void, Never>)] = []
    }

    private let state = Mutex(State())
    var now: Date { state.withLock { $0.now } }
    var slept: [Duration] { state.withLock { $0.slept } }

    func sleep(for duration: Duration) async throws {
        try Task.checkCancellation()
        if duration < .seconds(10) { return state.withLock { $0.slept.append(duration) } }
        let id = UUID()
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let watchers = state.withLock { state in
                    state.sleepers[id] = (duration, continuation)
                    let watchers = state.watchers.filter { $0.0 == duration }
                    state.watchers.removeAll { $0.0 == duration }
                    return watchers
                }
                for watcher in watchers { watcher.1.resume() }
                if Task.isCancelled { end(id) }
            }
        } onCancel: {
            end(id)
        }
    }

    private func end(_ id: UUID) {
        let sleeper = state.withLock { $0.sleepers.removeValue(forKey: id) }
        sleeper?.1.resume(throwing: CancellationError())
    }

    /// Ends all sleeps of this length.
    func wake(_ duration: Duration) {
        let woken = state.withLock { state in
            let woken = state.sleepers.filter { $0.value.0 == duration }
            for id in woken.keys { state.sleepers[id] = nil }
            return woken.values
        }
        for sleeper in woken { sleeper.1.resume() }
    }

    func waitForSleeper(_ duration: Duration) async {
        await withCheckedContinuation { continuation in
            let isThere = state.withLock { state in
                if state.sleepers.values.contains(where: { $0.0 == duration }) { return true }
                state.watchers.append((duration, continuation))
                return false
            }
            if isThere { continuation.resume() }
        }
    }
}
