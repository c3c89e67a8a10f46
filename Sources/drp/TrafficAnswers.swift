internal import DRPKit
internal import Foundation
internal import Migrate

struct TrafficAnswer: Answer {
    struct Row: Encodable {
        var client: ClientID
        var expected: ExpectedTraffic
        var domains: [DomainView]
    }

    var clients: [Row] = []

    /// nil if all is as the journal has it.
    var code: ErrorCode? {
        let domains = clients.flatMap(\.domains)
        if let code = domains.compactMap(\.code).first { return code }
        return domains.contains { !$0.differences.isEmpty } ? .targetDiffers : nil
    }

    var text: String { clients.map(Self.text).joined(separator: "\n\n") }

    private static func text(_ row: Row) -> String {
        let expected = row.expected
        let frontends =
            expected.addresses.isEmpty ? "" : ", whose frontends are \(expected.addresses.joined(separator: ", "))"
        var lines = ["\(row.client) lives at \(expected.site)\(frontends)"]
        lines += (expected.frontends ?? []).map { answer in
            let says = answer.leadsTo.map { "leads to \($0)" } ?? "DOES NOT LEAD: \(Text.safe(answer.problem ?? ""))"
            return "  frontend \(answer.address)  \(says)"
        }
        if row.domains.isEmpty { lines.append("  no domains") }
        for domain in row.domains {
            guard let record = domain.record else {
                lines.append("  \(domain.domain)  FAILED: \(Text.safe(domain.problem ?? ""))")
                continue
            }
            let mark = record.owner.map { "site \($0.site), epoch \($0.epoch)" } ?? "no mark"
            lines.append(
                "  \(domain.domain)  \(TrafficText.addresses(record.addresses)), TTL \(record.ttlSeconds) s, \(mark)")
            lines += domain.authorities.map {
                "    authority \($0.authority)  \($0.problem.map(Text.safe) ?? TrafficText.addresses($0.addresses))"
            }
            lines += domain.resolvers.map {
                "    resolver \($0.resolver)  \($0.problem.map(Text.safe) ?? TrafficText.addresses($0.addresses))"
            }
            lines += domain.differences.map { "    DIFFERS: \(Text.safe($0))" }
            lines += domain.notes.map { "    note: \(Text.safe($0))" }
        }
        return lines.joined(separator: "\n")
    }
}

struct TrafficPlanAnswer: Answer {
    var client: ClientID
    var changes: [HandSwitch.Change]
    var frontends: [FrontendAnswer]?
    /// The command that carries it out, without its `--confirm`.
    var again: String

    var text: String {
        let complaints = (frontends ?? []).compactMap(\.complaint).map(Text.safe)
        guard !changes.isEmpty else {
            return (complaints + ["\(client): the records are so already; there is nothing to do"]).joined(
                separator: "\n")
        }
        let lines = changes.map { change in
            let owner = change.wanted.owner.map { "site \($0.site), epoch \($0.epoch)" } ?? ""
            return "\(change.domain): \(change.found)\n"
                + "  -> \(TrafficText.addresses(change.wanted.addresses)), TTL \(change.wanted.ttlSeconds) s, \(owner)"
        }
        return (complaints + lines + ["Nothing was changed. To do it: \(again) --confirm \(client)"]).joined(
            separator: "\n")
    }
}

struct TrafficSwitchAnswer: Answer {
    var client: ClientID
    /// Where the journal says that the client lives.
    var site: SiteName
    var results: [HandSwitch.Result]
    var frontends: [FrontendAnswer]?

    /// Whether an authority does not serve the new records.
    var isStale: Bool { results.contains { $0.authorities.contains { !$0.agrees } } }

    var text: String {
        var lines = (frontends ?? []).compactMap(\.complaint).map(Text.safe)
        if results.isEmpty { lines.append("\(client): the records were so already; nothing was changed") }
        for result in results {
            let agreeing = result.authorities.count(where: \.agrees)
            lines.append(
                "\(result.domain): \(TrafficText.addresses(result.before.addresses)) -> "
                    + "\(TrafficText.addresses(result.after.addresses)); \(agreeing) of \(result.authorities.count) authorities "
                    + "serve it after \(Text.seconds(result.seconds))")
            for answer in result.authorities where !answer.agrees {
                let said = answer.problem.map(Text.safe) ?? "still \(TrafficText.addresses(answer.addresses))"
                lines.append("  STALE: authority \(answer.authority): \(said)")
            }
            lines += result.resolvers.compactMap(\.complaint).map { "  note: \(Text.safe($0))" }
        }
        if !results.isEmpty {
            lines.append("\(client) goes on living at \(site): its data are there, and its backups are taken there.")
        }
        return lines.joined(separator: "\n")
    }
}

private enum TrafficText {
    static func addresses(_ addresses: [String]) -> String {
        addresses.isEmpty ? "no address" : addresses.joined(separator: ", ")
    }
}
