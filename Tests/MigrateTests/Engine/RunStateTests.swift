import DRPKit
import Testing

@testable import Migrate

@Suite("RunState")
struct RunStateTests {
    @Test("a step is intended, observed, applied, observed again, and then its outcome is written")
    func order() {
        var run = RunState(steps: [.pending], retries: [0])
        #expect(run.handle(.started) == .recordIntent(step: 0))
        #expect(run.handle(.intentRecorded) == .observe(step: 0))
        #expect(run.handle(.observed(.notDone)) == .apply(step: 0))
        #expect(run.handle(.applied(["a": 1])) == .recordApplied(step: 0, ["a": 1]))
        #expect(run.handle(.appliedRecorded) == .observeAfter(step: 0))
        #expect(run.handle(.observed(.done(["b": 2]))) == .recordOutcome(step: 0, ["b": 2]))
        #expect(run.handle(.outcomeRecorded) == .finish)
    }

    @Test("a step that is already done is not applied")
    func observesBeforeApplying() {
        var run = RunState(steps: [.done, .pending], retries: [0, 0])
        #expect(run.handle(.started) == .recordIntent(step: 1))
        #expect(run.handle(.intentRecorded) == .observe(step: 1))
        #expect(run.handle(.observed(.done([:]))) == .recordOutcome(step: 1, [:]))
    }

    @Test("a failure that may pass is tried again, from observing on, as often as the rule says; then the run waits")
    func retries() {
        let failure = StepFailure(Fault(code: .targetUnreachable, text: "gone"), mayPass: true)
        var run = RunState(steps: [.pending], retries: [2])
        _ = run.handle(.started)
        for attempt in 1...2 {
            #expect(run.handle(.intentRecorded) == .observe(step: 0))
            #expect(run.handle(.observed(.notDone)) == .apply(step: 0))
            #expect(run.handle(.failed(failure)) == .retry(step: 0, failure, after: .seconds(attempt)))
            #expect(run.handle(.waited) == .recordIntent(step: 0))
        }
        #expect(run.handle(.intentRecorded) == .observe(step: 0))
        #expect(run.handle(.failed(failure)) == .pause(step: 0, failure))
    }

    @Test("a failure that does not mend itself pauses the run at once")
    func permanentFailure() {
        struct Differs: DRPError {
            var code: ErrorCode { .targetDiffers }
            var message: String { "data differ" }
        }
        let failure = StepFailure(Differs())
        var run = RunState(steps: [.pending], retries: [5])
        _ = run.handle(.started)
        _ = run.handle(.intentRecorded)
        #expect(run.handle(.failed(failure)) == .pause(step: 0, failure))
    }

    @Test("what was carried out but cannot be seen, and what cannot be told, are failures")
    func notSeen() {
        var run = RunState(steps: [.pending], retries: [0])
        _ = run.handle(.started)
        _ = run.handle(.intentRecorded)
        _ = run.handle(.observed(.notDone))
        _ = run.handle(.applied([:]))
        _ = run.handle(.appliedRecorded)
        #expect(run.handle(.observed(.notDone)) == .pause(step: 0, .notSeen))
        var other = RunState(steps: [.pending], retries: [0])
        _ = other.handle(.started)
        _ = other.handle(.intentRecorded)
        #expect(other.handle(.observed(.cannotTell("no answer"))) == .pause(step: 0, .cannotTell("no answer")))
    }

    @Test("pauses between attempts double up to 30 seconds")
    func backoff() {
        #expect((1...7).map { RunState.pause(after: $0) } == [1, 2, 4, 8, 16, 30, 30].map { .seconds($0) })
    }

    @Test("a step that turns the run back when it fails is taken back with all before it, the last one first")
    func turnsBack() {
        let failure = StepFailure(Fault(code: .targetDiffers, text: "differs"), mayPass: false)
        var run = RunState(steps: [.skipped, .done, .pending, .pending], retries: [0, 0, 0, 0], turning: [2])
        #expect(run.handle(.started) == .recordIntent(step: 2))
        #expect(run.handle(.intentRecorded) == .observe(step: 2))
        #expect(run.handle(.failed(failure)) == .turnBack(step: 2, failure))
        #expect(run.handle(.turnedBack) == .recordUndoIntent(step: 2))
        for (step, next) in [(2, 1), (1, 0), (0, nil)] as [(Int, Int?)] {
            #expect(run.handle(.undoIntentRecorded) == .undo(step: step))
            #expect(run.handle(.undone) == .recordUndone(step: step))
            #expect(run.handle(.undoneRecorded) == next.map { .recordUndoIntent(step: $0) } ?? .finishBack)
        }
    }

    @Test("on the way back a step that cannot be undone is tried again, then the run waits: it does not turn once more")
    func undoFails() {
        let failure = StepFailure(Fault(code: .targetUnreachable, text: "gone"), mayPass: true)
        var run = RunState(steps: [.undone, .failed, .undone], retries: [1, 1, 1], turning: [1], direction: .back)
        #expect(run.handle(.started) == .recordUndoIntent(step: 1))
        _ = run.handle(.undoIntentRecorded)
        #expect(run.handle(.failed(failure)) == .retry(step: 1, failure, after: .seconds(1)))
        #expect(run.handle(.waited) == .recordUndoIntent(step: 1))
        _ = run.handle(.undoIntentRecorded)
        #expect(run.handle(.failed(failure)) == .pause(step: 1, failure))
    }

    @Test(
        "after crashes at any boundary each effect is there once and in order, or all of them are taken back in reverse",
        arguments: 0..<400)
    func crashes(seed: Int) {
        var random = SplitMix(state: UInt64(seed))
        var world = FakeWorld(steps: 1 + Int(random.next() % 6))
        let retries = world.effects.map { _ in Int(random.next() % 4) }
        let turning = Set(world.effects.indices.filter { _ in random.next() % 3 == 0 })
        var lives = 0
        while !world.isFinished {
            lives += 1
            guard lives < 1000 else {
                Issue.record("seed \(seed): no end")
                return
            }
            world.live(retries: retries, turning: turning, random: &random)
        }
        let isBack = world.direction == .back
        #expect(world.effects.allSatisfy { $0 == (isBack ? 0 : 1) }, "seed \(seed)")
        #expect(isBack || world.order == Array(world.effects.indices), "seed \(seed)")
        #expect(isBack ? !world.steps.contains { $0.isTouched } : world.steps.allSatisfy(\.isOver), "seed \(seed)")
    }
}

/// A world in which each effect can be seen, and a journal of the steps; both outlive a crash, `RunState` does not.
private struct FakeWorld {
    var effects: [Int]
    var order: [Int] = []
    var steps: [StepStatus]
    var direction = RunDirection.forward
    var isFinished = false

    init(steps count: Int) {
        effects = Array(repeating: 0, count: count)
        steps = Array(repeating: .pending, count: count)
    }

    /// One life of a process: it dies before or after the effect of any action, with a chance of 1 in 8.
    mutating func live(retries: [Int], turning: Set<Int>, random: inout SplitMix) {
        var state = RunState(steps: steps, retries: retries, turning: turning, direction: direction)
        var event = RunState.Event.started
        while true {
            let action = state.handle(event)
            if random.next() % 16 == 0 { return }
            guard let next = carryOut(action, &random) else { return }
            if random.next() % 16 == 0 { return }
            event = next
        }
    }

    private mutating func carryOut(_ action: RunState.Action, _ random: inout SplitMix) -> RunState.Event? {
        let failure = StepFailure(Fault(code: .targetUnreachable, text: "x"), mayPass: random.next() % 4 != 0)
        switch action {
        case .recordIntent(let step):
            if step > 0 { #expect(steps[step - 1].isOver) }
            steps[step] = .active
            return .intentRecorded
        case .observe(let step), .observeAfter(let step):
            if random.next() % 8 == 0 { return .failed(failure) }
            if random.next() % 8 == 0 { return .observed(.cannotTell("x")) }
            return .observed(effects[step] > 0 ? .done(["step": .integer(Int64(step))]) : .notDone)
        case .apply(let step):
            if random.next() % 8 == 0 { return .failed(failure) }
            effects[step] += 1
            order.append(step)
            // The effect is there, and yet the call fails.
            return random.next() % 8 == 0 ? .failed(failure) : .applied([:])
        case .recordApplied: return .appliedRecorded
        case .recordOutcome(let step, let outcome):
            #expect(outcome["step"] == .integer(Int64(step)))
            steps[step] = .done
            return .outcomeRecorded
        case .retry: return .waited
        case .pause(let step, _):
            steps[step] = .failed
            return nil
        case .turnBack(let step, _):
            steps[step] = .failed
            direction = .back
            return .turnedBack
        case .recordUndoIntent(let step):
            #expect(!effects[(step + 1)...].contains { $0 > 0 }, "what came later goes first")
            steps[step] = .active
            return .undoIntentRecorded
        case .undo(let step):
            if random.next() % 8 == 0 { return .failed(failure) }
            effects[step] = 0
            return random.next() % 8 == 0 ? .failed(failure) : .undone
        case .recordUndone(let step):
            steps[step] = .undone
            return .undoneRecorded
        case .finish, .finishBack:
            isFinished = true
            return nil
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): one seed, one history.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
