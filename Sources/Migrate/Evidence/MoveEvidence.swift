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
        package var isMet: Bool? { promisedSeconds.map { seconds <= $0 } }
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
    /// Age of the newest restored write when the loss was declared; derived from the backup's instant.
    package var rpo: Measured?
    /// From declaring to the first good answer under the client's name; measured.
    package var rto: Measured?

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
            rpo = Measured(
                seconds: max(0, declared.timeIntervalSince(instant)), promisedSeconds: objectives.rpo?.asSeconds)
        }
        if let serving = outcomes["probe"]?.text("serving").flatMap(JournalDate.parse) {
            rto = Measured(seconds: serving.timeIntervalSince(declared), promisedSeconds: objectives.rto?.asSeconds)
        }
    }
}

extension Duration {
    fileprivate var asSeconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
