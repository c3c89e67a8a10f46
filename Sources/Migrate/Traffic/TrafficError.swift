package import DRPKit

/// Why traffic could not be read, switched or confirmed.
package struct TrafficError: DRPError {
    package enum Reason: Hashable, Sendable {
        /// No connection, a connection cut, or no answer in time.
        case unreachable
        /// The server refused us: wrong key, wrong signature, clock, or policy.
        case denied
        /// The records bear the mark of someone else, or are of a kind that a switch would leave behind.
        case notOurs
        /// The records are not those that the caller expected.
        case changed
        /// An authority did not serve the new addresses in time.
        case stale
        /// The answer breaks the protocol.
        case malformed
        /// The settings cannot work: zone, key file, addresses.
        case settings
        /// The server answered with another error of its protocol.
        case failed
        /// What was asked for cannot be done; the advice says what can.
        case refused(advice: String)
    }

    package var reason: Reason
    /// The domain or server that it happened to.
    package var subject: String
    package var text: String

    package init(_ reason: Reason, _ subject: String, _ text: String) {
        self.reason = reason
        self.subject = subject
        self.text = text
    }

    package var code: ErrorCode {
        switch reason {
        case .unreachable: .targetUnreachable
        case .denied: .targetDenied
        case .notOurs, .changed, .stale: .targetDiffers
        case .malformed, .failed: .failed
        case .settings: .fleetInvalid
        case .refused: .usage
        }
    }

    package var message: String { "\(subject): \(text)" }

    package var advice: String {
        switch reason {
        case .unreachable: "Check that the DNS server runs and that this host may reach it over TCP, then run again."
        case .denied: "Check the TSIG key file, the server's update policy for it, and both clocks."
        case .notOurs: "Nothing was changed. Find out who serves this domain before you remove the foreign record."
        case .changed: "Nothing was changed. Someone else changed the records: read them, then plan again."
        case .stale: "Check zone transfers to the authority named; do not stop the old site before it agrees."
        case .malformed, .failed: "Read the DNS server's log for this request."
        case .settings: "Correct `traffic:` in the fleet file or the key file that it names."
        case .refused(let advice): advice
        }
    }
}
