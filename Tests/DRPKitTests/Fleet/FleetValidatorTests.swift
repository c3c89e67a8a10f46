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
}
