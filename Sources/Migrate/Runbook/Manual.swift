package import DRPKit
package import Foundation

/// A runbook as a person follows it by hand on the day that drp is gone: Markdown with this client's real values, and commands of
/// the servers' own tools. Paths of secrets stand in it, never a secret.
package struct Manual: Sendable {
    private let fleet: Fleet
    private let client: Client
    private let place: SiteName
    private let uuid: String
    private let point: RestorePoint?
    private let target: Site?

    /// - Parameters:
    ///   - place: where the client lives now.
    ///   - uuid: of its repositories; nil before its keys are made.
    ///   - point: the newest backup that the journal knows of.
    ///   - target: nil: the text says `TARGET`.
    package init(
        fleet: Fleet, client: Client, place: SiteName, uuid: UUID?, point: RestorePoint?, target: Site?
    ) {
        self.fleet = fleet
        self.client = client
        self.place = place
        self.uuid = uuid?.uuidString.lowercased() ?? "UUID"
        self.point = point
        self.target = target
    }

    package func markdown(_ runbook: Runbook) -> String {
        var lines = [
            "# \(runbook.name): \(client.id)", "", runbook.about + ".", "",
            "| | |", "| --- | --- |",
            "| client | \(client.id), \(client.environment), priority \(client.priority) |",
            "| lives at | \(place) |",
            "| goes to | \(target.map { "\($0.name), \(addresses)" } ?? "TARGET") |",
            "| promised | \(promises) |",
            "| newest backup known | \(backup) |",
            "| runbook | \(runbook.name), SHA-256 \(runbook.sha256) |", "",
        ]
        for (index, step) in runbook.steps.enumerated() {
            lines.append("## \(index + 1). \(step.name)")
            lines.append("")
            if step.modes.count == 1, let mode = step.modes.first {
                lines += ["In a run of mode \(mode.rawValue) alone.", ""]
            }
            lines += text(step)
            lines.append("")
        }
        return lines.joined(separator: "\n")
    }

    private var addresses: String {
        let known = target?.frontends.map(\.address).joined(separator: ", ") ?? ""
        return known.isEmpty ? "ADDRESS" : known
    }

    private var promises: String {
        let objectives = fleet.objectives(of: client)
        let parts = [
            objectives.rpo.map { "RPO \(DurationText.format($0))" },
            objectives.rto.map { "RTO \(DurationText.format($0))" },
        ].compactMap { $0 }
        return parts.isEmpty ? "nothing" : parts.joined(separator: ", ")
    }

    private var backup: String {
        point.map { "\($0.number), of \(JournalDate.text($0.instant)), \($0.sourceBytes)" } ?? "none"
    }

    private func text(_ step: Runbook.Step) -> [String] {
        switch step.kind {
        case "preflight":
            return ["Its backups lie under `\(uuid)/` in:", ""]
                + fleet.stores(of: client).map { "- \($0.name) at \($0.site): \(Self.address(of: $0))" }
                + ["", "Take the newest number under `\(uuid)/backups/`. You need a recovery identity."]
        case "deploy":
            return deploy
        case "restore":
            return [
                "On a machine with Python, with the store's folder or a copy of the bucket in `STORE`:", "",
                "    script/read-repository.py --store STORE --identity recovery.key --client \(client.id) list",
                "    script/read-repository.py --store STORE --identity recovery.key --client \(client.id) extract NUMBER --to out",
                "",
                "Each `out/DATABASE/COLLECTION.bson` goes in with `mongorestore --bson`; options, indexes and users stand in "
                    + "`catalog.bson` and `users.bson`. Redis records are described in docs/repository-format.md.",
            ]
        case "freeze":
            return ["At \(place), with a user of the role `backup`, then with one that may CONFIG:", ""] + block(true)
        case "catch-up":
            return [
                "Take one more backup of the frozen source, or `mongodump` and a copy of its RDB, and restore that."
            ]
        case "verify":
            return [
                "Count the documents of each collection and the keys of each Redis database at both sides. Never send traffic to a "
                    + "target that differs."
            ]
        case "switch":
            return records
        case "probe":
            let port = client.services.api?.port ?? 443
            return client.domains.map { domain in
                "    curl -si --resolve \(domain):\(port):\(addresses) http://\(domain):\(port)/ | grep -i x-drp-client"
            } + ["", "The answer must name \(client.id)."]
        case "fence":
            return ["At \(place), if it can be reached; write down if it cannot:", ""] + block(true)
                + ["", "Then stop the client's API there."]
        case "protect":
            return [
                "Take a backup of the new side at once: `mongodump` and a copy of its RDB, until drp is there again and makes one."
            ]
        case "wait":
            return ["Wait for \(step.settings.text("for") ?? "?")."]
        case "approve":
            return ["Ask, and write down who agreed: \(step.settings.text("ask") ?? "?")"]
        case "command":
            return ["    " + (step.settings.list("run") ?? []).map(Self.word).joined(separator: " ")]
        case "ansible":
            return ansible(step)
        case "destroy":
            return ["Remove what was deployed, with its data."]
        case "notify":
            return ["Tell \(client.contacts.isEmpty ? "the client" : client.contacts.joined(separator: ", "))."]
        default:
            return ["There is no way by hand on record for a step of kind \(step.kind)."]
        }
    }

    /// Without drp's inventory: hosts by their addresses.
    private func ansible(_ step: Runbook.Step) -> [String] {
        let hosts = target?.hosts.map(\.address) ?? ["ADDRESS"]
        var words = ["ansible-playbook", "--inventory", hosts.joined(separator: ",") + ","]
        if let bastion = target?.bastion {
            words += ["--user", target?.hosts.first?.user ?? bastion.user]
            words += ["--ssh-common-args", "-o ProxyJump=\(bastion.user)@\(bastion.address):\(bastion.port)"]
        }
        for text in step.settings.list("vars") ?? [] { words += ["--extra-vars", text] }
        if let path = step.settings.text("vars-file") { words += ["--extra-vars", "@\(path)"] }
        return ["    " + (words + [step.settings.text("playbook") ?? "PLAYBOOK"]).map(Self.word).joined(separator: " ")]
    }

    private var deploy: [String] {
        var lines = ["At \(target?.name.text ?? "TARGET"):", ""]
        if client.services.mongo != nil {
            lines.append("- MongoDB as a replica set of one member, with authentication")
        }
        if client.services.redis != nil { lines.append("- Redis with a password") }
        switch client.services.api?.launch {
        case .image(let image): lines.append("- the API: image `\(image)`, port \(client.services.api?.port ?? 0)")
        case .command(let words):
            lines.append(
                "- the API: `\(words.map(Self.word).joined(separator: " "))`, port \(client.services.api?.port ?? 0)")
        case nil: break
        }
        for (name, source) in (client.services.api?.secrets ?? [:]).sorted(by: { $0.key < $1.key }) {
            lines.append("  - its secret `\(name)`: \(Self.shown(source))")
        }
        return lines
    }

    /// Databases that refuse applications' writes.
    private func block(_ isOn: Bool) -> [String] {
        var lines: [String] = []
        if let mongo = client.services.mongo {
            lines.append(
                "    mongosh \"$(\(Self.shown(mongo.uri)))\" --eval 'db.adminCommand({setUserWriteBlockMode: 1, global: \(isOn)})'"
            )
        }
        if let redis = client.services.redis {
            lines.append(
                "    redis-cli -u \"$(\(Self.shown(redis.uri)))\" CONFIG SET min-replicas-to-write \(isOn ? 1_000_000 : 0)"
            )
        }
        return lines
    }

    private var records: [String] {
        guard let traffic = fleet.traffic else {
            return ["The fleet file has no `traffic`: tell whoever keeps the zone."]
        }
        let domain = client.domains.first ?? "DOMAIN"
        let asked = traffic.dns.authorities.map { "    dig @\($0.host) -p \($0.port) \(domain) A" }
        let mark = "N is one more than the mark there says: `dig TXT _drp.\(domain)`."
        return change(traffic) + ["", asked.isEmpty ? mark : "\(mark) Then ask each of:", ""] + asked
    }

    /// How the zone's records are changed by hand.
    private func change(_ traffic: TrafficSettings) -> [String] {
        let ttl = traffic.ttl.components.seconds
        let addresses = target?.frontends.map(\.address) ?? ["ADDRESS"]
        let mark = "drp=1 client=\(uuid) site=\(target?.name.text ?? "TARGET") epoch=N"
        switch traffic.dns {
        case .rfc2136(let dns):
            var lines = [
                "The key of the zone: \(Self.shown(dns.key))", "", "    nsupdate -k KEYFILE <<END",
                "    server \(dns.server.host) \(dns.server.port)", "    zone \(dns.zone)",
            ]
            for domain in client.domains {
                lines.append("    update delete \(domain) A")
                lines += addresses.map { "    update add \(domain) \(ttl) A \($0)" }
                lines.append("    update delete _drp.\(domain) TXT")
                lines.append("    update add _drp.\(domain) \(ttl) TXT \"\(mark)\"")
            }
            return lines + ["    send", "    END"]
        case .powerdns(let dns):
            let sets = client.domains.map { domain in
                let records = addresses.map { "{\"content\": \"\($0)\"}" }.joined(separator: ", ")
                return """
                      {"name": "\(domain).", "type": "A", "ttl": \(ttl), "changetype": "REPLACE", "records": [\(records)]},
                      {"name": "_drp.\(domain).", "type": "TXT", "ttl": \(ttl), "changetype": "REPLACE",
                       "records": [{"content": "\\"\(mark)\\""}]}
                    """
            }
            let body = "{\"rrsets\": [\n\(sets.joined(separator: ",\n"))\n]}"
            return [
                "The API's key: \(Self.shown(dns.key)). Write it into a file HEADER, after `X-API-Key: `.", "",
                "    curl -X PATCH -H @HEADER \(dns.url)/api/v1/servers/\(dns.server)/zones/\(dns.zone). -d @- <<'END'",
            ] + body.split(separator: "\n").map { "    \($0)" } + ["    END"]
        case .route53(let dns):
            let sets = client.domains.flatMap { domain in
                let values = addresses.map { "{\"Value\": \"\($0)\"}" }.joined(separator: ", ")
                return [
                    ("\(domain)", "A", values), ("_drp.\(domain)", "TXT", "{\"Value\": \"\\\"\(mark)\\\"\"}"),
                ]
            }
            let changes = sets.map { name, type, values in
                """
                  {"Action": "UPSERT", "ResourceRecordSet": {"Name": "\(name).", "Type": "\(type)", "TTL": \(ttl),
                   "ResourceRecords": [\(values)]}}
                """
            }
            let batch = "{\"Changes\": [\n\(changes.joined(separator: ",\n"))\n]}"
            return [
                "The key's name: \(Self.shown(dns.access)); its secret: \(Self.shown(dns.secret)). Write into a file BATCH:",
                "",
            ] + batch.split(separator: "\n").map { "    \($0)" } + [
                "",
                "    aws route53 change-resource-record-sets --hosted-zone-id \(dns.hostedZone) --change-batch file://BATCH",
            ]
        }
    }

    private static func address(of store: StoreSettings) -> String {
        switch store.kind {
        case .folder(let path): "folder `\(path)`"
        case .s3(let settings): "bucket `\(settings.bucket)` at \(settings.endpoint), region \(settings.region)"
        case .azure(let settings): "container `\(settings.container)` of Azure account \(settings.account)"
        }
    }

    /// How a secret is had; never what it is.
    private static func shown(_ source: SecretSource) -> String {
        switch source {
        case .file(let path): "cat \(word(path))"
        case .env(let name): "printenv \(name)"
        case .command(let words): words.map(word).joined(separator: " ")
        case .credential(let name): "cat \"$CREDENTIALS_DIRECTORY/\(name)\""
        }
    }

    /// One word of a shell.
    private static func word(_ text: String) -> String {
        let isPlain = text.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0)
                || Array("-_./:=@%+,".utf8).contains($0)
        }
        return isPlain && !text.isEmpty ? text : "'" + text.replacing("'", with: "'\\''") + "'"
    }
}
