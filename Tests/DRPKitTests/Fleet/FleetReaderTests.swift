import Foundation
import Testing

@testable import DRPKit

@Suite struct FleetReaderTests {
    let folder: FleetFolder
    init() throws { folder = try FleetFolder() }

    @Test("a fleet file is read as it was meant")
    func reads() throws {
        let fleet = try folder.load(FleetText.dull())
        #expect(fleet.name == "toucan" && fleet.state == folder.path + "/state" && fleet.site.text == "office")
        #expect(fleet.recovery == FleetText.recipients)
        #expect(fleet.sites.map(\.name.text) == ["paris", "lyon", "office"])
        let lyon = try #require(fleet.sites.first { $0.name.text == "lyon" })
        #expect(lyon.isLocal && lyon.folder == "/srv/lyon" && lyon.frontends.map(\.address) == ["127.0.0.12"])
        #expect(lyon.programs == ["mongod": folder.path + "/bin/mongod"])
        let acme = try #require(fleet.client(ClientID(unchecked: "acme")))
        #expect(acme.priority == 1 && acme.domains == ["acme.clients.test"])
        #expect(
            acme.services.api
                == Services.API(launch: .command([folder.path + "/bin/api", "--verbose"]), port: 8081, secrets: [:]))
        #expect(
            acme.services.mongo
                == Services.Mongo(uri: .file(path: folder.path + "/secrets/mongo"), ca: folder.path + "/ca.pem"))
        #expect(acme.services.redis == Services.Redis(uri: .env(name: "REDIS_URI"), ca: nil, role: .store))
        #expect(fleet.policy(of: acme)?.schedule.description == "daily 02:30 Europe/Paris")
        #expect(fleet.stores(of: acme).map(\.kind) == [.folder(path: "/srv/drp")])
        #expect(
            fleet.objectives(of: acme) == Objectives(rpo: .seconds(86_400), rto: .seconds(2400), availability: 99.9))
        guard case .rfc2136(let dns) = fleet.traffic?.dns else { throw WrongKind() }
        #expect(dns.server == HostPort(host: "127.0.0.1", port: 5353) && dns.authorities == [dns.server])
        #expect(fleet.traffic?.ttl == .seconds(30))
        #expect(fleet.inactiveParts() == [])
    }

    @Test("the example of the manual is read; what is not active yet is said")
    func readsExample() throws {
        let (fleet, problems) = try FleetReader.read(try writeExample())
        #expect(problems.filter { $0.severity == .error }.map(\.description) == [])
        let parts = try #require(fleet).inactiveParts()
        #expect(!parts.contains { $0.contains("frontends") })
        #expect(!parts.contains("policies.standard.lock") && !parts.contains { $0.hasPrefix("stores") })
        #expect(parts.contains("clients.acme.contacts") && parts.last == "notices")
        let acme = try #require(fleet?.clients.first { $0.id.text == "acme" })
        #expect(acme.hours?.description == "Mon-Fri 08:00-19:00" && acme.hours?.zone.identifier == "Europe/Paris")
    }

    private static let secrets = "access: {file: a}, secret: {env: S}"

    @Test(
        "providers of buckets differ in data alone",
        arguments: [
            ("provider: aws, region: eu-west-3", "https://s3.eu-west-3.amazonaws.com", StoreSettings.Addressing.host),
            ("provider: scaleway, region: fr-par", "https://s3.fr-par.scw.cloud", .host),
            ("provider: ovh, region: gra", "https://s3.gra.io.cloud.ovh.net", .host),
            (
                "provider: ceph, region: default, endpoint: \"https://s3.example:8443\"", "https://s3.example:8443",
                .path
            ),
            ("region: x, endpoint: \"http://10.0.0.1:9000\", addressing: host", "http://10.0.0.1:9000", .host),
        ])
    func readsBuckets(text: String, endpoint: String, addressing: StoreSettings.Addressing) throws {
        let fleet = try FleetFolder().load(
            FleetText.dull("folder: /srv/drp", "s3: {bucket: backups, \(text), \(Self.secrets)}"))
        guard case .s3(let s3) = fleet.stores[0].kind else {
            Issue.record("no bucket")
            return
        }
        #expect(s3.endpoint == endpoint && s3.addressing == addressing && s3.bucket == "backups")
    }

    @Test(
        "a bucket, a region or an endpoint that would break an address or a signature is refused",
        arguments: [
            "bucket: Ab, provider: ovh, region: gra", "bucket: \"a/b\", provider: ovh, region: gra",
            "bucket: backups, provider: ovh, region: \"gra.evil/\"", "bucket: backups, region: x",
            "bucket: backups, region: x, endpoint: \"https://u:p@host\"",
            "bucket: backups, region: x, endpoint: \"https://host/path\"",
            "bucket: backups, provider: azure, region: x",
        ])
    func refusesBuckets(text: String) throws {
        let problems = try FleetFolder().problems(
            FleetText.dull("folder: /srv/drp", "s3: {\(text), \(Self.secrets)}"))
        #expect(!problems.isEmpty)
    }

    @Test(
        "an Azure store is where its account is, or where its endpoint says; key or SAS lets in",
        arguments: [
            ("key: {file: k}", "https://drpacme.blob.core.windows.net"),
            ("sas: {env: S}", "https://drpacme.blob.core.windows.net"),
            ("sas: {env: S}, endpoint: \"https://blob.example:8443\"", "https://blob.example:8443"),
            ("key: {file: k}, endpoint: \"http://127.0.0.1:10000/drpacme\"", "http://127.0.0.1:10000/drpacme"),
        ])
    func readsContainers(text: String, endpoint: String) throws {
        let fleet = try FleetFolder().load(
            FleetText.dull("folder: /srv/drp", "azure: {account: drpacme, container: nightly-backups, \(text)}"))
        guard case .azure(let azure) = fleet.stores[0].kind else {
            Issue.record("no container")
            return
        }
        #expect(azure.endpoint == endpoint && azure.account == "drpacme" && azure.container == "nightly-backups")
        guard case .sas = azure.access else { return #expect(text.hasPrefix("key")) }
        #expect(text.hasPrefix("sas"))
    }

    @Test(
        "an account, a container or an endpoint that would break an address or a signature is refused",
        arguments: [
            "account: Drp, container: backups, key: {file: k}", "account: d-p, container: backups, key: {file: k}",
            "account: drp, container: a--b, key: {file: k}", "account: drp, container: \"../x\", key: {file: k}",
            "account: drp, container: backups", "account: drp, container: backups, key: {file: k}, sas: {file: s}",
            "account: drp, container: backups, key: {file: k}, endpoint: \"https://host/other\"",
            "account: drp, container: backups, key: {file: k}, endpoint: \"https://u:p@host/drp\"",
        ])
    func refusesContainers(text: String) throws {
        #expect(!(try FleetFolder().problems(FleetText.dull("folder: /srv/drp", "azure: {\(text)}"))).isEmpty)
    }

    private func writeExample() throws -> String {
        try folder.write(
            """
            fleet: toucan
            state: /var/lib/drp
            site: office
            recovery: [\(FleetText.recipients[0]), \(FleetText.recipients[1])]
            sites:
              par-dc3:
                provider: scaleway
                bastion:
                  address: bastion.dc3
                  host-ca: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINF9j3XoiJtk8vkyN6xcdR8LXjWsCuc/6lMpH7moXwgp"]
                  certificate: {command: [sign, "--short", "{public-key}"]}
                hosts: [{name: h1, address: 10.0.0.11, memory: 64GiB, disk: 1TiB}]
                frontends: [{address: 10.0.0.5, runtime: "10.0.0.5:9999"}]
              par-dc5: {provider: scaleway, reserve: true, hosts: []}
              office: {}
              gra: {provider: ovh}
            stores:
              paris:
                site: gra
                s3:
                  endpoint: https://s3.gra.example
                  bucket: backups
                  region: gra
                  access: {file: a}
                  secret: {credential: s3}
              local: {site: office, folder: /srv/drp}
              blue: {site: gra, azure: {account: drp, container: backups, key: {env: AZURE_KEY}}}
            policies:
              standard:
                schedule: "daily 02:30 Europe/Paris"
                log: 60s
                keep: {daily: 7, weekly: 4, monthly: 12}
                stores: [paris, local]
                lock: 30d
                drill: monthly
            environments:
              production: {policy: standard, objectives: {rpo: 5m, rto: 40m, availability: 99.9}}
              staging:    {policy: standard}
            clients:
              - id: acme
                environment: production
                site: par-dc3
                priority: 1
                needs: {memory: 4GiB, disk: 20GiB}
                services:
                  api:   {image: "registry/api@sha256:abc", port: 8080, secrets: {jwt: {file: jwt}}}
                  mongo: {uri: {file: mongo}, ca: ca.pem}
                  redis: {uri: {file: redis}, ca: ca.pem, role: cache}
                domains: [acme.example.com]
                contacts: [ops@acme.example]
                hours: {zone: Europe/Paris, business: "Mon-Fri 08:00-19:00"}
            traffic: {site: gra, ttl: 30s, dns: {rfc2136: {server: ns, zone: example.com, key: {file: k}}}}
            notices: {site: office, smtp: {server: mail}, webhook: []}

            """)
        return folder.path + "/fleet.yaml"
    }

    @Test("the examples of the reference page are one fleet without a problem")
    func readsReference() throws {
        let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent().appending(path: "docs/reference/fleet-file.md")
        let examples = try String(contentsOf: page, encoding: .utf8).split(separator: "\n").filter {
            $0.hasPrefix("    ")
        }
        .map { $0.dropFirst(4) }.joined(separator: "\n")
        let text = examples.replacing(
            /recovery: .*/, with: "recovery: [\(FleetText.recipients.joined(separator: ", "))]")
        #expect(try folder.problems(text + "\n") == [])
        let site = try folder.load(text + "\n").sites.first { $0.name.text == "par-dc3" }
        #expect(site?.frontends.first?.runtime == HostPort(host: "10.0.0.5", port: 9999))
    }

    private static let hostCA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINF9j3XoiJtk8vkyN6xcdR8LXjWsCuc/6lMpH7moXwgp"

    /// A fleet whose site office has this for a bastion and these hosts.
    private func withBastion(_ bastion: String, hosts: String = "{name: h1, address: 10.0.0.11}") -> String {
        FleetText.dull("office: {}", "office: {bastion: {\(bastion)}, hosts: [\(hosts)]}")
    }

    @Test("a bastion and hosts are read, with ports and accounts of their own or the usual ones")
    func readsBastions() throws {
        let rest = "host-ca: [\(Self.hostCA) comment], certificate: {command: [bin/sign, \"{public-key}\"]}"
        let plain = try #require(
            try folder.load(withBastion("address: b.dc3, \(rest)")).site(SiteName(unchecked: "office")))
        let site = try #require(SSHSite(plain))
        #expect(site.bastion == .init(name: "bastion", address: "b.dc3", port: 22, user: "drp"))
        #expect(site.hosts == [.init(name: "h1", address: "10.0.0.11", port: 22, user: "drp")])
        #expect(site.authorities == [Self.hostCA] && site.principal == "drp")
        #expect(site.certificate == [folder.path + "/bin/sign", "{public-key}"])
        let own = "address: \"[::1]:2222\", user: ops, principal: dr, \(rest)"
        let hosts = "{name: h1, address: \"10.0.0.11:23\", user: root}, {name: h2, address: 10.0.0.12}"
        let other = try #require(
            try folder.load(withBastion(own, hosts: hosts)).site(SiteName(unchecked: "office")).flatMap(SSHSite.init))
        #expect(
            other.bastion == .init(name: "bastion", address: "::1", port: 2222, user: "ops") && other.principal == "dr")
        #expect(other.hosts.map(\.user) == ["root", "ops"] && other.hosts.map(\.port) == [23, 22])
        #expect(try other.host(named: "h2").address == "10.0.0.12")
        #expect(try other.host(named: nil, for: "10.0.0.11").name == "h1")
        #expect(throws: SSHError.self) { try other.host(named: nil, for: "172.17.0.2") }
        #expect(throws: SSHError.self) { try other.host(named: "h3") }
    }

    @Test(
        "a bastion that could not be trusted or used is an error",
        arguments: [
            ("address: b, certificate: {command: [s, \"{public-key}\"]}", "needs 'host-ca'"),
            ("address: b, host-ca: [], certificate: {command: [s, \"{public-key}\"]}", "at least one public key"),
            ("address: b, host-ca: [ssh-dss AAAA], certificate: {command: [s, \"{public-key}\"]}", "not a public key"),
            ("address: b, host-ca: [\(hostCA)]", "needs 'certificate'"),
            ("address: b, host-ca: [\(hostCA)], certificate: {file: c}", "unknown key 'file'"),
            ("address: b, host-ca: [\(hostCA)], certificate: {command: [s]}", "where the public key comes in"),
            ("address: \"-oProxyCommand=x\", host-ca: [\(hostCA)]", "not a host"),
            ("address: b, user: \"a b\", host-ca: [\(hostCA)]", "not the name of an account"),
            ("address: b, user: -x, host-ca: [\(hostCA)]", "not the name of an account"),
        ])
    func refusesBastions(bastion: String, words: String) throws {
        let problems = try folder.problems(withBastion(bastion))
        #expect(problems.contains { $0.contains("error") && $0.contains(words) }, "\(problems)")
    }

    @Test("two hosts of one name, and a client on a host that its site has not, are errors")
    func refusesHosts() throws {
        let rest = "address: b, host-ca: [\(Self.hostCA)], certificate: {command: [s, \"{public-key}\"]}"
        let twice = try folder.problems(withBastion(rest, hosts: "{name: h, address: a}, {name: h, address: b}"))
        #expect(twice.contains { $0.contains("'h' exists twice") }, "\(twice)")
        let nowhere = try folder.problems(FleetText.dull("priority: 1", "host: h9"))
        #expect(nowhere.contains { $0.contains("has no host 'h9'") }, "\(nowhere)")
    }

    @Test("an unknown key is an error with its line and the nearest known key")
    func namesUnknownKeys() throws {
        #expect(
            try folder.problems(FleetText.dull("policies:", "polcies:")).contains(
                "fleet.yaml:15:1: error: unknown key 'polcies' (did you mean 'policies'?)"))
        #expect(
            try folder.problems(FleetText.dull("priority: 1", "prioritty: 1")) == [
                "fleet.yaml:24:5: error: unknown key 'prioritty' (did you mean 'priority'?)"
            ])
        #expect(
            try folder.problems(FleetText.dull("office: {}", "office: {quux: 1}")).first?.contains(
                "known here: provider")
                == true)
    }

    @Test("all problems are told at once, in the order of the file")
    func tellsAll() throws {
        var text = FleetText.dull("02:30", "25:30").replacing("rto: 40m", with: "rto: 40 minutes")
        text = text.replacing("site: paris", with: "site: pariss").replacing("stores: [disk]", with: "stores: [dusk]")
        text = text.replacing("port: 8081", with: "port: 80810").replacing("127.0.0.12", with: "a b")
        let problems = try folder.problems(text)
        #expect(
            problems == [
                "fleet.yaml:10:27: error: 'a b' is not an address",
                "fleet.yaml:16:24: error: 'daily 25:30 Europe/Paris' is no schedule: write 'daily 02:30 Europe/Paris'",
                "fleet.yaml:16:59: error: no store is called 'dusk' (did you mean 'disk'?)",
                "fleet.yaml:18:61: error: '40 minutes' is not a duration above zero, as 30s, 5m, 1h or 7d",
                "fleet.yaml:23:11: error: no site is called 'pariss' (did you mean 'paris'?)",
                "fleet.yaml:26:50: error: '80810' is not a port from 1 to 65535",
            ])
    }

    @Test("a secret in the file is refused and not repeated")
    func refusesSecrets() throws {
        for canary in ["mongodb://u:canary@h", "canary"] {
            let problems = try folder.problems(FleetText.dull("{file: secrets/mongo}", "\"\(canary)\""))
            #expect(problems.count == 1 && problems[0].contains("a secret never stands in this file"))
            #expect(!problems[0].contains("canary"))
        }
        #expect(
            try folder.problems(FleetText.dull("{file: secrets/mongo}", "{file: a, env: B}")).first?.contains(
                "exactly one")
                == true)
        #expect(
            try folder.problems(FleetText.dull("{env: REDIS_URI}", "{credential: ../x}")).first?.contains("credential")
                == true)
    }

    @Test(
        "names with anything but letters, digits and hyphens are refused",
        arguments: [
            "$(reboot)", "a;b", "a b", "../etc", "a/b", "A", "-a", "a-", "`x`", "a|b", "a&b", "ä", "", "a\\nb", "*",
        ])
    func refusesHostileNames(name: String) throws {
        #expect(try !folder.problems(FleetText.dull("id: acme", "id: \"\(name)\"")).isEmpty)
        #expect(try !folder.problems(FleetText.dull("office: {}", "office: {}\n  \"\(name)\": {}")).isEmpty)
        #expect(try !folder.problems(FleetText.dull("[acme.clients.test]", "[\"\(name).clients.test\"]")).isEmpty)
    }

    @Test("no name of seeded letters with a metacharacter passes")
    func refusesSeededNames() throws {
        let seed: UInt64 = 0x5eed_0002
        var state = seed
        func next(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((state >> 33) % UInt64(bound))
        }
        let plain = Array("abcxyz0189-")
        let meta = Array("$`;|&<>(){}[]*?!~#'\"\\/ \t\n\r\u{0}\u{7f}%=:,@+^.\u{e9}_AZ")
        for _ in 0..<2000 {
            var name = (0..<(1 + next(12))).map { _ in plain[next(plain.count)] }
            name.insert(meta[next(meta.count)], at: next(name.count + 1))
            #expect(ClientID(String(name)) == nil, "seed \(seed)")
            #expect(PolicyName(String(name)) == nil, "seed \(seed)")
        }
    }

    @Test("recovery needs two right recipients")
    func checksRecipients() throws {
        let (a, b) = (FleetText.recipients[0], FleetText.recipients[1])
        #expect(try folder.problems(FleetText.dull(", \(b)", "")).first?.contains("two recipients at least") == true)
        #expect(try folder.problems(FleetText.dull(b, a)).first?.contains("stands twice") == true)
        #expect(try folder.problems(FleetText.dull(b, "drp1abc")).first?.contains("not a recipient") == true)
        let slip = String(b.dropLast(7)) + (b.suffix(7).first == "q" ? "p" : "q") + b.suffix(6)
        #expect(try folder.problems(FleetText.dull(b, slip)).first?.contains("not a recipient") == true)
    }

    @Test("wrong kinds of values are named, never taken for something else")
    func refusesKinds() throws {
        func first(_ old: String, _ new: String) throws -> String {
            try folder.problems(FleetText.dull(old, new)).first ?? ""
        }
        #expect(try first("fleet: toucan", "fleet: [a]").contains("the fleet's name must be text, not a list"))
        #expect(try first("office: {}", "office: {reserve: yes}").contains("'yes' is not true or false"))
        #expect(try first("[bin/api, --verbose]", "bin/api --verbose").contains("a command must be a list"))
        #expect(try first("[bin/api, --verbose]", "[]").contains("a command needs a program"))
        #expect(try first("priority: 1", "priority: 1.5").contains("not a whole number"))
        #expect(try first("priority: 1", "priority: 99999999999999999999").contains("not a whole number"))
        #expect(try first("[disk]", "[]").contains("at least one store"))
        #expect(try first("{site: office, folder: /srv/drp}", "{site: office}").contains("exactly one of folder, s3"))
        #expect(try first("state: state\n", "").contains("the fleet needs 'state'"))
        #expect(try first("    environment: production\n", "").contains("a client needs 'environment'"))
        #expect(try first("availability: 99.9", "availability: 100").contains("percent"))
        #expect(try first("127.0.0.1:5353", "127.0.0.1:0").contains("host:port"))
    }

    @Test("a missing file and an empty folder are named; a file without permission too")
    func namesMissing() throws {
        let error = #expect(throws: FleetError.self) { try FleetReader.load(folder.path + "/none.yaml") }
        #expect(error?.code == .fleetMissing)
        #expect(throws: FleetError.self) { try FleetReader.load(folder.path) }
    }

    @Test("a folder of files is one fleet; what stands twice is a problem")
    func merges() throws {
        let parts = FleetText.dull().split(separator: "clients:\n  - id: acme", maxSplits: 1)
        let traffic = parts[1].split(separator: "traffic:")
        try folder.write(String(parts[0]), as: "a.yaml")
        try folder.write("clients:\n  - id: acme" + traffic[0], as: "b.yaml")
        try folder.write("clients:\n  - id: beta" + traffic[0].replacing("acme", with: "beta"), as: "c.yml")
        try folder.write("traffic:" + traffic[1], as: "d.yaml")
        try folder.write("not: read", as: ".hidden.yaml")
        let fleet = try FleetReader.load(folder.path)
        #expect(fleet.clients.map(\.id.text) == ["acme", "beta"] && fleet.traffic != nil)
        #expect(fleet.clients[1].services.mongo?.uri == .file(path: folder.path + "/secrets/mongo"))

        try folder.write(
            "fleet: other\nsites:\n  paris: {}\nclients:\n  - id: acme\n" + traffic[0].dropFirst(), as: "e.yaml")
        let problems = try FleetReader.read(folder.path).problems.map {
            $0.description.replacing(folder.path + "/", with: "")
        }
        #expect(
            problems == [
                "e.yaml:1:8: error: 'fleet' stands in two files (the other is at a.yaml:1)",
                "e.yaml:3:3: error: the site 'paris' exists twice (the first is at a.yaml:6)",
                "e.yaml:5:9: error: the client 'acme' exists twice (the first is at b.yaml:2)",
                "e.yaml:13:15: error: the domain 'acme.clients.test' exists twice (the first is at b.yaml:10)",
            ])
    }

    @Test("a file of services alone is read for a restore to another server")
    func readsTargets() throws {
        try folder.write("services:\n  mongo: {uri: {file: m}}\n", as: "target.yaml")
        let services = try FleetReader.loadServices(folder.path + "/target.yaml")
        #expect(services.mongo?.uri == .file(path: folder.path + "/m") && services.redis == nil)
        try folder.write("service:\n  mongo: {}\n", as: "target.yaml")
        let error = #expect(throws: FleetError.self) { try FleetReader.loadServices(folder.path + "/target.yaml") }
        #expect(error?.message.contains("did you mean 'services'?") == true)
    }
}

private struct WrongKind: Error {}
