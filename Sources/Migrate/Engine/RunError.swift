package import DRPKit

/// Why a run did not begin, or did not reach its end.
package struct RunError: DRPError, Hashable {
    package enum Reason: Sendable, Hashable {
        /// A step failed; the run waits.
        case paused(step: String, Fault)
        /// A step failed, and all that the run did was taken back by itself.
        case rolledBack(Fault)
        /// The client has a run that is not finished.
        case unfinished
        /// Nothing to resume: it ended.
        case ended(RunStatus)
        /// It waits at no step to which the decision could apply.
        case waitsNowhere
        /// What clients would lose by a rollback.
        case wouldLose([String])
        /// There is no such run.
        case missing
        /// This drp has no such step kind, or other settings for it: the run was begun by another version.
        case unknownStep(kind: String)
        /// A step did not end in its time.
        case deadlineExceeded(step: String, Duration)
    }

    package var reason: Reason
    package var run: RunID

    package init(_ reason: Reason, run: RunID) {
        self.reason = reason
        self.run = run
    }

    package var code: ErrorCode {
        switch reason {
        case .paused(_, let fault): fault.code == .waitsForApproval ? .waitsForApproval : .stepFailed
        case .rolledBack: .stepFailed
        case .wouldLose: .confirmationMissing
        case .waitsNowhere: .usage
        case .unfinished: .busy
        case .ended, .missing, .unknownStep: .usage
        case .deadlineExceeded: .deadlineExceeded
        }
    }

    package var message: String {
        switch reason {
        case .paused(let step, let fault): "run \(run) waits at step \(step): \(fault.text) [\(fault.code.rawValue)]"
        case .unfinished: "the client has a run that is not finished: \(run)"
        case .rolledBack(let fault): "run \(run) failed, and all was taken back: \(fault.text) [\(fault.code.rawValue)]"
        case .waitsNowhere: "run \(run) waits at no step that this could be said of"
        case .wouldLose(let losses):
            "taking run \(run) back would lose what clients wrote:\(losses.map { "\n  \($0)" }.joined())"
        case .ended(let state): "run \(run) is \(state.rawValue): there is nothing to resume"
        case .missing: "there is no run \(run)"
        case .unknownStep(let kind): "run \(run) has a step '\(kind)' that this version of drp does not know"
        case .deadlineExceeded(let step, let deadline):
            "step \(step) did not end within \(deadline.components.seconds) s"
        }
    }

    package var advice: String {
        switch reason {
        case .paused(_, let fault) where fault.code == .waitsForApproval:
            "Run `drp runs approve \(run)`, then `drp runs resume \(run)`."
        case .paused(_, let fault): "\(fault.code.advice) Then: `drp runs resume \(run)`."
        case .rolledBack(let fault): "\(fault.code.advice) Then begin anew: nothing of this run is left."
        case .waitsNowhere: "Look with `drp runs show \(run)`."
        case .wouldLose: "If that is right, run it again with --lose-writes."
        case .unfinished: "Run `drp runs resume \(run)`."
        case .ended, .missing: "Run `drp runs list`."
        case .unknownStep: "Resume it with the version that began it."
        case .deadlineExceeded: "Raise its `deadline` in the runbook if it needs longer."
        }
    }
}
