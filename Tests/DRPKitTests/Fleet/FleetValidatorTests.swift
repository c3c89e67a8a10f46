import DRPKit
import Testing

@Suite struct FleetValidatorTests {
    let folder: FleetFolder
    init() throws { folder = try FleetFolder() }

    @Test("a production client whose only store is at its own site is an error; staging is not")
    func wantsAStoreElsewhere() throws {
        let text = FleetText.dull("disk: {site: office", "disk: {site: paris")
        #expect(
            try folder.problems(text) == [
                "fleet.yaml:21:9: error: all backups of 'acme' lie at its own site 'paris' and are lost with it "
                    + "(add a store of another site to its policy)"
            ])
        #expect(try folder.problems(text.replacing("environment: production", with: "environment: staging")) == [])
    }

    @Test("DNS at the client's own site is an error, drp and notices there are warnings")
    func wantsRecoveryElsewhere() throws {
        #expect(
            try folder.problems(FleetText.dull("traffic:\n  site: office", "traffic:\n  site: paris")).first?
                .contains("error: the DNS that 'acme' is switched by stands at its own site") == true)
        #expect(
            try folder.problems(FleetText.dull("site: office\nrecovery", "site: paris\nrecovery")).first?
                .contains("warning: drp itself runs at the site of 'acme'") == true)
        #expect(
            try folder.problems(FleetText.dull() + "notices: {site: paris}\n").first?.contains("warning: notices")
                == true)
    }

    @Test("an RTO that alone breaks the month is a warning: 43m12s at 99.9 %")
    func weighsObjectives() throws {
        #expect(try folder.problems(FleetText.dull("rto: 40m", "rto: 43m")) == [])
        #expect(
            try folder.problems(FleetText.dull("rto: 40m", "rto: 44m")) == [
                "fleet.yaml:18:3: warning: an rto of 44m alone breaks 99.9 % of a month, which allows 43m12s"
            ])
        #expect(
            try folder.problems(FleetText.dull("priority: 1", "objectives: {rto: 1h}")).first?.contains("an rto of 1h")
                == true)
    }

    @Test("local sites need a folder and a frontend; commands need a local site")
    func checksLocalSites() throws {
        #expect(
            try folder.problems(FleetText.dull("folder: sites/paris, ", "")).first?.contains("needs 'folder'") == true)
        #expect(
            try folder.problems(FleetText.dull(", frontends: [{address: 127.0.0.11}]", "")).first?
                .contains("needs 'frontends'") == true)
        #expect(
            try folder.problems(FleetText.dull("[{address: 127.0.0.11}]", "[]")) == [
                "fleet.yaml:6:3: error: the local site 'paris' needs 'frontends' (write [{address: 127.0.0.12}])"
            ])
        #expect(
            try folder.problems(FleetText.dull("office: {}", "office: {provider: local}")) == [
                "fleet.yaml:12:3: error: the local site 'office' needs 'folder'",
                "fleet.yaml:12:3: error: the local site 'office' needs 'frontends' (write [{address: 127.0.0.12}])",
            ])
        #expect(try folder.problems(FleetText.dull("office: {}", "office:")) == [])
        #expect(try folder.problems(FleetText.dull("office: {}", "office: {provider: ovh}")) == [])
        #expect(
            try folder.problems(FleetText.dull("office: {}", "office: {folder: x}")).first?
                .contains("only a local site") == true)
        #expect(
            try folder.problems(FleetText.dull("site: paris", "site: office")).contains {
                $0.contains("is a command, but its site 'office' is not local")
            })
    }

    @Test("a domain outside of the zone is an error, a long ttl and an image without digest are warnings")
    func checksTraffic() throws {
        #expect(
            try folder.problems(FleetText.dull("[acme.clients.test]", "[acme.clients.tes, xclients.test]")).count == 2)
        #expect(
            try folder.problems(FleetText.dull("traffic:\n", "traffic:\n  ttl: 1h\n")).first?
                .contains("warning: a ttl above 60s") == true)
        #expect(
            try folder.problems(FleetText.dull("command: [bin/api, --verbose]", "image: registry/api:latest")).first?
                .contains("warning: this image is not named by digest") == true)
        #expect(
            try folder.problems(FleetText.dull("command: [bin/api, --verbose]", "image: \"a;b\"")).first?
                .contains("not the name of an image") == true)
    }

    @Test("the zone is changed in exactly one way, and what that way lacks is said")
    func checksDNS() throws {
        let old = "{rfc2136: {server: \"127.0.0.1:5353\", zone: clients.test, key: {file: tsig.key}}}"
        func problems(_ new: String) throws -> [String] { try folder.problems(FleetText.dull(old, new)) }
        let powerdns = "powerdns: {url: \"http://[::1]:8081\", zone: clients.test, key: {env: K}, authorities: [ns]}"
        #expect(try problems("{\(powerdns)}") == [])
        let fleet = try folder.load(FleetText.dull(old, "{\(powerdns)}"))
        #expect(fleet.traffic?.dns.authorities == [HostPort(host: "ns", port: 53)])
        #expect(fleet.traffic?.dns.zone == "clients.test" && fleet.traffic?.resolvers == [])
        #expect(try problems("{}").first?.contains("dns needs exactly one of rfc2136, powerdns, route53") == true)
        #expect(try problems(old.replacing("{rfc", with: "{\(powerdns), rfc")).first?.contains("exactly one") == true)
        #expect(
            try problems("{\(powerdns.replacing("authorities", with: "authoritys"))}").contains {
                $0.contains("did you mean 'authorities'?")
            })
        #expect(try problems("{\(powerdns.replacing("[ns]", with: "[]"))}").first?.contains("at least one") == true)
        for url in ["ftp://x", "http://", "http://x/api", "http://u:p@x", "x:80"] {
            let found = try problems("{\(powerdns.replacing("http://[::1]:8081", with: url))}")
            #expect(found.first?.contains("is not https://host") == true, "\(url): \(found)")
        }
        let route53 =
            "route53: {hosted-zone: Z0123, zone: clients.test, access: {env: A}, secret: {env: B}, authorities: []}"
        #expect(try problems("{\(route53)}") == [])
        #expect(
            try problems("{\(route53.replacing("Z0123", with: "z/1"))}").first?.contains("hosted zone's id") == true)
        #expect(
            try problems("{\(route53.replacing("secret: {env: B}, ", with: ""))}").first?.contains("secret") == true)
        #expect(
            try problems("{\(powerdns.replacing("{env: K}", with: "abc"))}").first?.contains(
                "never stands in this file")
                == true)
    }

    @Test("frontends that are HAProxies are all so, are shared, and stand before processes at another address")
    func checksFrontends() throws {
        func problems(_ site: String) throws -> [String] {
            try folder.problems(FleetText.dull("office: {}", "office: {\(site)}"))
        }
        let one = "{address: 10.0.0.5, runtime: \"10.0.0.5:9999\"}"
        #expect(try problems("frontends: [\(one)]") == [])
        #expect(
            try problems("frontends: [\(one), {address: 10.0.0.6}]").first?.contains("with a runtime and without")
                == true)
        #expect(
            try problems("frontends: [\(one.replacing("10.0.0.5,", with: "front,"))]").first?.contains("IPv4") == true)
        let docker = String(Self.docker.dropFirst("office: {".count).dropLast()).replacing(
            "{address: 10.0.0.5}", with: one)
        #expect(try problems(docker).first?.contains("has docker, where each client has a frontend to itself") == true)
        let local = "provider: local, folder: x, frontends: [\(one)]"
        #expect(try problems(local).first?.contains("an address of their own") == true)
        #expect(try problems(local + ", address: 10.0.0.5").first?.contains("an address of their own") == true)
        #expect(try problems(local + ", address: 127.0.0.9") == [])
        #expect(try problems("address: 127.0.0.9").first?.contains("only a local site has") == true)
    }

    private static let images = "images: {mongo: \"m@sha256:1\", redis: \"r@sha256:1\", edge: \"e@sha256:1\"}"
    private static let docker = "office: {provider: ovh, frontends: [{address: 10.0.0.5}], docker: {\(images)}}"

    @Test("a site with containers is read, and what is wrong with it is said")
    func readsDocker() throws {
        let fleet = try folder.load(FleetText.dull("office: {}", Self.docker))
        let docker = try #require(fleet.sites.first { $0.name.text == "office" }?.docker)
        #expect(docker.socket == "/run/docker.sock" && docker.subnets == nil)
        #expect([docker.mongo, docker.redis, docker.edge] == ["m@sha256:1", "r@sha256:1", "e@sha256:1"])
        func problem(_ old: String, _ new: String) throws -> String? {
            try folder.problems(FleetText.dull("office: {}", Self.docker.replacing(old, with: new))).first
        }
        #expect(try problem("docker: {", "docker: {socket: /run/x.sock, subnets: 10.9.0.0/16, ") == nil)
        #expect(try problem("docker: {", "docker: {socket: run/x.sock, ")?.contains("is not an absolute path") == true)
        for block in ["10.9.0.0", "10.9.0.1/16", "10.9.0.0/28", "10.9.0.0/016", "10.900.0.0/16", "::/16"] {
            #expect(
                try problem("docker: {", "docker: {subnets: \"\(block)\", ")?.contains("block of addresses") == true)
        }
        #expect(try problem(", edge: \"e@sha256:1\"", "")?.contains("images needs 'edge'") == true)
        #expect(try problem("m@sha256:1", "m:6")?.contains("warning: this image is not named by digest") == true)
        #expect(try problem("provider: ovh", "provider: local, folder: x")?.contains("is local and has docker") == true)
        #expect(try problem("10.0.0.5", "front.example")?.contains("frontends with IPv4 addresses") == true)
        #expect(try problem("[{address: 10.0.0.5}]", "[]")?.contains("frontends with IPv4 addresses") == true)
    }

    @Test("a client at a site with containers needs an image, domains and a certificate")
    func wantsWhatContainersNeed() throws {
        let text = FleetText.dull("office: {}", Self.docker).replacing("    site: paris", with: "    site: office")
            .replacing("disk: {site: office", with: "disk: {site: paris").replacing(
                "traffic:\n  site: office", with: "traffic:\n  site: paris")
        #expect(try folder.problems(text).filter { $0.contains("needs an api with an image") }.count == 1)
        #expect(try folder.problems(text).filter { $0.contains("needs a certificate") }.count == 1)
        let right = text.replacing("command: [bin/api, --verbose]", with: "image: \"a@sha256:1\"").replacing(
            "domains:", with: "certificate: {chain: acme.pem, key: {file: acme.key}}\n    domains:")
        #expect(try folder.problems(right).filter { $0.contains("error") } == [])
        let certificate = try #require(try folder.load(right).client(ClientID(unchecked: "acme"))?.certificate)
        #expect(
            certificate.chain == folder.path + "/acme.pem" && certificate.key == .file(path: folder.path + "/acme.key"))
        #expect(
            try folder.problems(right.replacing("chain: acme.pem, ", with: "")).contains {
                $0.contains("needs 'chain'")
            })
        #expect(
            try folder.problems(right.replacing("[acme.clients.test]", with: "[]")).contains {
                $0.contains("needs domains")
            })
    }
}
