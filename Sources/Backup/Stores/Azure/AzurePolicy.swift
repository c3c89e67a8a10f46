internal import DRPKit
internal import Foundation

/// The immutability policy of a blob: `unlocked`, which a user with the right to it may take away (governance), or `locked`,
/// which nobody can (compliance).
struct AzurePolicy: Sendable, Hashable {
    var mode: LockMode
    var until: Date

    /// Rounds up to whole seconds: dates have no smaller parts there.
    init(_ lock: ObjectLock) {
        mode = lock.mode
        until = Date(timeIntervalSince1970: lock.until.timeIntervalSince1970.rounded(.up))
    }

    /// - Returns: nil if the blob has none.
    init?(_ head: HTTPResponse) {
        guard let until = head.header("x-ms-immutability-policy-until-date").flatMap({ HTTPDate.parse($0) }) else {
            return nil
        }
        mode = head.header("x-ms-immutability-policy-mode")?.lowercased() == "locked" ? .compliance : .governance
        self.until = until
    }

    var headers: [HTTPRequest.Header] {
        [
            .init(name: "x-ms-immutability-policy-until-date", value: HTTPDate.text(until)),
            .init(name: "x-ms-immutability-policy-mode", value: mode == .compliance ? "locked" : "unlocked"),
        ]
    }

    /// What to set, so that a blob which has `self` has `wanted` too; nil if nothing is to be done. Nothing gets weaker.
    func step(to wanted: AzurePolicy) -> AzurePolicy? {
        var step = wanted
        step.until = max(until, wanted.until)
        if mode == .compliance { step.mode = .compliance }
        return step == self ? nil : step
    }
}
