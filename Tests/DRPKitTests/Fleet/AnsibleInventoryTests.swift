import Foundation
import Testing

@testable import DRPKit

@Suite("AnsibleInventory")
struct AnsibleInventoryTests {
    private static let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"

    private static func site(_ name: String, hosts: [Site.Host], docker: Site.Docker? = nil, bastion: Bool = false)
        -> Site
    {
        Site(
            name: SiteName(unchecked: name), provider: nil, isReserve: name == "par-dc5",
            bastion: bastion
                ? Site.Bastion(
                    address: "bastion.dc3", port: 2222, user: "drp", authorities: [key], principal: "dr",
                    certificate: ["/usr/bin/sign", "secret-looking", Site.Bastion.publicKey]) : nil,
            hosts: hosts, frontends: [Site.Frontend(address: "10.0.0.5", runtime: nil)], folder: nil, programs: [:],
            docker: docker)
    }

    private static let fleet = Fleet(
        name: "f", state: "/s", site: SiteName(unchecked: "office"), recovery: [],
        sites: [
            site(
                "par-dc3",
                hosts: [
                    Site.Host(name: "h1", address: "10.0.0.11", port: 22, user: nil, memory: nil, disk: nil),
                    Site.Host(name: "h2", address: "10.0.0.12", port: 2022, user: "ops", memory: nil, disk: nil),
                ], docker: Site.Docker(socket: "/s", mongo: "m@sha256:1", redis: "r@sha256:2", edge: "e@sha256:3"),
                bastion: true),
            site(
                "par-dc5",
                hosts: [Site.Host(name: "h1", address: "10.1.0.1", port: 22, user: nil, memory: nil, disk: nil)]),
            site("office", hosts: []),
        ], stores: [], policies: [], environments: [],
        clients: [
            Client(
                id: ClientID(unchecked: "acme"), environment: EnvironmentName(unchecked: "production"),
                site: SiteName(unchecked: "par-dc5"), priority: 1, policy: nil, objectives: Objectives(), needs: nil,
                services: Services(
                    api: Services.API(launch: .image("a@sha256:4"), port: 80, secrets: ["jwt": .file(path: "/secret")]),
                    mongo: Services.Mongo(uri: .file(path: "/secret"), ca: nil)), domains: [], contacts: [], hours: nil)
        ], traffic: nil, notices: nil)

    @Test("hosts stand in groups of their sites, with all that the playbook and the way in need, and nothing secret")
    func list() throws {
        let list = try #require(AnsibleInventory(Self.fleet).list.object)
        #expect(list["site_par_dc3"] == ["hosts": ["h1.par-dc3", "h2.par-dc3"]])
        #expect(list["site_par_dc5"] == ["hosts": ["h1.par-dc5"]])
        #expect(list["docker_sites"] == ["children": ["site_par_dc3"]])
        #expect(list["reserve_sites"] == ["children": ["site_par_dc5"]])
        #expect(list.keys.contains("site_office") == false)
        let variables = list["_meta"]?.object?["hostvars"]?.object
        #expect(
            variables?["h2.par-dc3"] == [
                "ansible_host": "10.0.0.12", "ansible_port": 2022, "ansible_user": "ops",
                "ansible_ssh_common_args": "-o ProxyJump=drp@bastion.dc3:2222", "drp_account": "ops",
                "drp_principals": ["dr"], "drp_ssh_port": 2022, "drp_host_principals": ["10.0.0.12"],
                "drp_host_authorities": [.text(Self.key)], "drp_site": "par-dc3", "drp_frontends": ["10.0.0.5"],
                "drp_images": ["m@sha256:1", "r@sha256:2", "e@sha256:3", "a@sha256:4"],
            ])
        #expect(variables?["h1.par-dc3"]?.object?["ansible_user"] == "drp")
        #expect(variables?["h1.par-dc5"]?.object?["ansible_user"] == nil)
        #expect(try !AnsibleInventory(Self.fleet).list.json().contains("secret"))
    }

    @Test("one site's hosts, one host's variables, and a file with changes")
    func parts() {
        let inventory = AnsibleInventory(Self.fleet, only: SiteName(unchecked: "par-dc5"))
        #expect(inventory.hosts == ["h1.par-dc5"])
        #expect(inventory.host("h1.par-dc3") == nil)
        #expect(inventory.host("h1.par-dc5")?.object?["ansible_host"] == "10.1.0.1")
        let file = inventory.file(["h1.par-dc5": ["ansible_host": "goal", "ansible_port": .null]])
        let site = file.object?["all"]?.object?["children"]?.object?["site_par_dc5"]?.object?["hosts"]?.object
        #expect(site?["h1.par-dc5"]?.object?["ansible_host"] == "goal")
        #expect(site?["h1.par-dc5"]?.object?.keys.contains("ansible_port") == false)
    }
}
