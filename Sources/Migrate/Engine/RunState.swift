package import DRPKit

/// A run as a pure state machine: events in, one action out; no clock, no disk, no world.
///
/// Each step goes intent -> observe -> (apply -> observe) -> outcome; a failed attempt begins again with a new intent
/// after a pause, or pauses the run. What is resumed begins with the intent of the first step that is not done, so it
/// is observed before anything is applied: nothing is done twice.
///
/// On the way back each step of which something may be there is undone, the last one first: intent -> undo -> undone. An
/// undo looks by itself at what there is, so it bears being called again.
package struct RunState: Sendable, Hashable {
    package enum Action: Sendable, Hashable {
        /// Write down that `step` begins (a new attempt).
        case recordIntent(step: Int)
        /// Look whether its effect is there.
        case observe(step: Int)
        /// Make the effect.
        case apply(step: Int)
        /// Write down what came back, before looking.
        case recordApplied(step: Int, StepOutcome)
        /// Look again.
        case observeAfter(step: Int)
        /// Write down that it is done.
        case recordOutcome(step: Int, StepOutcome)
        /// Write down the failure, wait, and report `waited`.
        case retry(step: Int, StepFailure, after: Duration)
        /// Write down the failure and that the run waits for a person; nothing follows.
        case pause(step: Int, StepFailure)
        /// Write down the failure and that the run goes back, unless that would lose writes: then pause.
        case turnBack(step: Int, StepFailure)
        /// Write down that `step` begins to be taken back.
        case recordUndoIntent(step: Int)
        /// Take its effect back.
        case undo(step: Int)
        /// Write down that nothing of it is left.
        case recordUndone(step: Int)
        /// Write down that all is taken back; nothing follows.
        case finishBack
        /// Write down that all is done; nothing follows.
        case finish
    }

    package enum Event: Sendable, Hashable {
        /// The run begins or goes on.
        case started
        case intentRecorded
        case observed(Observation)
        case applied(StepOutcome)
        case appliedRecorded
        case outcomeRecorded
        /// What the last action asked for failed; journal failures are none of these, they end the process's work.
        case failed(StepFailure)
        case waited
        case turnedBack
        case undoIntentRecorded
        case undone
        case undoneRecorded
    }

    enum Phase: Sendable, Hashable {
        case ready
        case intending(Int)
        case observing(Int)
        case applying(Int)
        case recordingApplied(Int)
        case observingAfter(Int)
        case recordingOutcome(Int)
        case waiting(Int)
        case turning
        case intendingUndo(Int)
        case undoing(Int)
        case recordingUndone(Int)
        case paused
        case finished
    }

    private(set) var phase = Phase.ready
    /// Retries of each step.
    private let retries: [Int]
    /// Those that turn the run back when they fail.
    private let turning: Set<Int>
    private var steps: [StepStatus]
    private var direction: RunDirection
    /// Attempts at the current step since this state was made: a resumed run gets all of them anew.
    private var attempts = 0

    /// - Parameters:
    ///   - steps: as the journal has them; forward, those that are over come first.
    ///   - retries: how often each step may be tried again, forward and back.
    ///   - turning: steps that turn the run back when they fail, instead of pausing it.
    package init(
        steps: [StepStatus], retries: [Int], turning: Set<Int> = [], direction: RunDirection = .forward
    ) {
        precondition(retries.count == steps.count, "one word for each step")
        precondition(
            direction == .back || !zip(steps, steps.dropFirst()).contains { !$0.isOver && $1.isOver },
            "steps are done in order")
        self.steps = steps
        self.retries = retries
        self.turning = turning
        self.direction = direction
    }

    /// - Precondition: `event` answers the action that was returned last.
    package mutating func handle(_ event: Event) -> Action {
        switch (phase, event) {
        case (.ready, .started):
            return direction == .forward ? beginNext() : undoNext()
        case (.intending(let step), .intentRecorded):
            phase = .observing(step)
            return .observe(step: step)
        case (.observing(let step), .observed(.done(let outcome))),
            (.observingAfter(let step), .observed(.done(let outcome))):
            phase = .recordingOutcome(step)
            return .recordOutcome(step: step, outcome)
        case (.observing(let step), .observed(.notDone)):
            phase = .applying(step)
            return .apply(step: step)
        case (.applying(let step), .applied(let outcome)):
            phase = .recordingApplied(step)
            return .recordApplied(step: step, outcome)
        case (.recordingApplied(let step), .appliedRecorded):
            phase = .observingAfter(step)
            return .observeAfter(step: step)
        case (.observingAfter(let step), .observed(.notDone)):
            return afterFailure(step, .notSeen)
        case (.observing(let step), .observed(.cannotTell(let why))),
            (.observingAfter(let step), .observed(.cannotTell(let why))):
            return afterFailure(step, .cannotTell(why))
        case (.observing(let step), .failed(let failure)), (.applying(let step), .failed(let failure)),
            (.observingAfter(let step), .failed(let failure)):
            return afterFailure(step, failure)
        case (.waiting(let step), .waited):
            return intend(step)
        case (.recordingOutcome(let step), .outcomeRecorded):
            steps[step] = .done
            return beginNext()
        case (.turning, .turnedBack):
            direction = .back
            return undoNext()
        case (.intendingUndo(let step), .undoIntentRecorded):
            phase = .undoing(step)
            return .undo(step: step)
        case (.undoing(let step), .undone):
            phase = .recordingUndone(step)
            return .recordUndone(step: step)
        case (.undoing(let step), .failed(let failure)):
            return afterFailure(step, failure)
        case (.recordingUndone(let step), .undoneRecorded):
            steps[step] = .undone
            return undoNext()
        default:
            preconditionFailure("event \(event) in phase \(phase)")
        }
    }

    private mutating func beginNext() -> Action {
        guard let step = steps.firstIndex(where: { !$0.isOver }) else {
            phase = .finished
            return .finish
        }
        attempts = 1
        return intend(step)
    }

    private mutating func undoNext() -> Action {
        guard let step = steps.lastIndex(where: \.isTouched) else {
            phase = .finished
            return .finishBack
        }
        attempts = 1
        return intend(step)
    }

    private mutating func intend(_ step: Int) -> Action {
        // Its intent is written before anything of it can be in the world.
        steps[step] = .active
        phase = direction == .forward ? .intending(step) : .intendingUndo(step)
        return direction == .forward ? .recordIntent(step: step) : .recordUndoIntent(step: step)
    }

    private mutating func afterFailure(_ step: Int, _ failure: StepFailure) -> Action {
        guard failure.mayPass, attempts <= retries[step] else {
            if direction == .forward, turning.contains(step) {
                phase = .turning
                return .turnBack(step: step, failure)
            }
            phase = .paused
            return .pause(step: step, failure)
        }
        defer { attempts += 1 }
        phase = .waiting(step)
        return .retry(step: step, failure, after: Self.pause(after: attempts))
    }

    /// min(30 s, 1 s * 2^(attempt - 1)): 1, 2, 4, 8, 16, 30, 30 …
    static func pause(after attempt: Int) -> Duration { .seconds(min(30, 1 << min(attempt - 1, 5))) }
}

/// Why an attempt at a step failed.
package struct StepFailure: Sendable, Hashable, Codable {
    package var fault: Fault
    /// Whether the same step may succeed when it is tried again soon.
    package var mayPass: Bool

    package init(_ fault: Fault, mayPass: Bool) {
        self.fault = fault
        self.mayPass = mayPass
    }

    /// By the error's code: wrong settings, wrong passwords and data that differ do not mend themselves.
    package init(_ error: any Error) {
        fault = Fault(error)
        mayPass = Self.passing.contains(fault.code)
    }

    private static let passing: Set<ErrorCode> = [
        .failed, .stepFailed, .busy, .sourceUnreachable, .sourceChanged, .targetUnreachable, .storeUnreachable,
        .repositoryLeased,
    ]

    static let notSeen = StepFailure(
        Fault(code: .stepFailed, text: "it was carried out, but its effect cannot be seen"), mayPass: true)

    static func cannotTell(_ why: String) -> StepFailure {
        StepFailure(Fault(code: .stepFailed, text: "it cannot be told whether it is done: \(why)"), mayPass: true)
    }
}
