package import DRPKit
internal import Foundation

/// What one run proves of a client's move: recovery point and time beside what the client was promised.
///
/// Made from the journal alone, so that it says the same a year later.
package struct MoveEvidence: Sendable, Codable, Hashable {
    package struct Measured: Sendable, Codable, Hashable {
        package var seconds: Double
        /// The promise; nil without one.
        package var promisedSeconds: Double?
        package var basis = Basis.measured
        package var isMet: Bool? { promisedSeconds.map { seconds <= $0 } }
    }

    package enum Basis: String, Sendable, Codable, Hashable {
        case measured
        /// From what the backup says of itself.
        case derived
    }

    package struct Domain: Sendable, Codable, Hashable {
        package var domain: String
        package var before: [String]
        package var after: [String]
        package var ttl: Int
        package var authorities: Int
    }

    package var client: ClientID
    package var run: RunID
    package var source: String?
    package var target: String?
    package var backup: Int?
    /// What the comparison of the target with the backup said; nil if it was not made.
    package var data: String?
    package var domains: [Domain] = []
    package var apiAddress: String?
    package var apiStatus: Int?
    package var apiBody: String?
    /// Age of the newest restored write when the loss was declared, derived from the backup's instant; nothing, and measured, if
    /// the frozen source was read again and held what the target holds.
    package var rpo: Measured?
    /// From declaring to the first good answer under the client's name; measured.
    package var rto: Measured?
    /// Seconds from the moment the source took no writes to the first good answer; measured. nil unless the source was alive.
    package var downtime: Double?
    /// Of a drill; nil where the site does not count.
    package var packets: PacketCount?

    package init(_ report: RunReport, objectives: Objectives) {
        client = report.run.client
        run = report.run.id
        var outcomes: [String: StepOutcome] = [:]
        for step in report.steps { outcomes[step.kind] = StepOutcome(json: step.outcome) }
        source = outcomes["preflight"]?.text("source")
        target = report.run.inputs["target"]
        backup = outcomes["restore"]?.integer("backup").map(Int.init)
        data = outcomes["verify"]?.text("summary")
        // An outcome in another form is one of another version: it proves nothing here.
        domains = (try? outcomes["switch"]?["domains"]?.decode([Domain].self)) ?? []
        // As above.
        packets = try? outcomes["destroy"]?["packets"]?.decode(PacketCount.self)
        apiAddress = outcomes["probe"]?.text("address")
        apiStatus = outcomes["probe"]?.integer("status").map(Int.init)
        apiBody = outcomes["probe"]?.text("body")
        let declared = report.run.declared
        if let instant = outcomes["restore"]?.text("instant").flatMap(JournalDate.parse) {
            let promised = objectives.rpo?.asSeconds
            rpo =
                outcomes["verify"]?.text("source") == "equal"
                ? Measured(seconds: 0, promisedSeconds: promised)
                : Measured(
                    seconds: max(0, declared.timeIntervalSince(instant)), promisedSeconds: promised, basis: .derived)
        }
        if let serving = outcomes["probe"]?.text("serving").flatMap(JournalDate.parse) {
            rto = Measured(seconds: serving.timeIntervalSince(declared), promisedSeconds: objectives.rto?.asSeconds)
            let frozen = report.steps.first { $0.kind == "freeze" && $0.state == .done }?.started
            downtime = frozen.map { serving.timeIntervalSince($0) }
        }
    }
}

extension Duration {
    fileprivate var asSeconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
