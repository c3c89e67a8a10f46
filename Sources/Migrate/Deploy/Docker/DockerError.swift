package import DRPKit

/// A request that a Docker engine did not do, with its own words.
package struct DockerError: DRPError, Equatable {
    package enum Reason: Sendable, Hashable {
        /// No socket there, or nobody listens on it.
        case unreachable
        /// No answer within the deadline.
        case late
        /// No such object, status 404.
        case missing
        /// Another object has that name, or it is in a state that forbids this; status 409.
        case conflict
        /// Another status of 400 and above.
        case refused(status: Int)
        /// An answer that is not of the engine's interface.
        case malformed
        /// An engine older or newer than what drp speaks.
        case unsupported
    }

    package var reason: Reason
    /// What was asked, as `create container drp_acme_mongo`.
    package var act: String
    package var text: String

    package init(_ reason: Reason, _ act: String, _ text: String) {
        self.reason = reason
        self.act = act
        self.text = text
    }

    package var code: ErrorCode {
        switch reason {
        case .unreachable: .targetUnreachable
        case .late: .deadlineExceeded
        case .missing, .conflict, .refused: .targetDenied
        case .malformed, .unsupported: .failed
        }
    }

    package var message: String { "Docker, \(act): \(text)" }

    package var advice: String {
        switch reason {
        case .unreachable: "Check that dockerd runs on the site's host and that drp may use its socket."
        case .late: "Check the load of the site's host, then run again: it continues where it stopped."
        case .missing, .conflict, .refused: "Read what Docker says, mend the cause, then run again."
        case .malformed: "Check that the socket named is a Docker engine's."
        case .unsupported: "Use a Docker engine from 20.10 on."
        }
    }
}
