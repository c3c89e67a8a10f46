import DRPKit
import Testing

@testable import Migrate

@Suite("HAProxy's runtime API")
struct HAProxyRuntimeTests {
    private static let names =
        "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
        + "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state "
        + "bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr "
        + "srv_agent_addr srv_agent_port"

    private static func text(_ rows: String...) -> String { (["1", names] + rows).joined(separator: "\n") + "\n\n" }

    /// - Parameter state: From `srv_op_state` to `srv_check_state`, as HAProxy 2.6 wrote them.
    private static func server(_ state: String) -> HAProxyRuntime.Server? {
        HAProxyRuntime.servers(in: text("4 acme 1 api 127.0.0.9 \(state) 0 0 0 - 18001 - 0 0 - - 0"))?.first
    }

    @Test("a server's state is read as HAProxy means it")
    func states() {
        func isUp(_ state: String) -> Bool? { Self.server(state)?.isUp }
        #expect(Self.server("2 0 1 1 1 6 3 3 6")?.place == HostPort(host: "127.0.0.9", port: 18001))
        // Up by its check; by no check; also where the configuration began with it out of service.
        #expect(isUp("2 0 1 1 1 6 3 3 6") == true && isUp("2 4 1 1 0 1 0 0 8") == true)
        // Taken into service a moment ago, and not checked yet.
        #expect(isUp("2 4 1 1 0 1 0 2 6") == false)
        #expect(isUp("0 4 1 1 1 8 2 0 6") == false)
        // Maintenance and draining.
        #expect(Self.server("0 5 1 1 0 1 0 0 8")?.isWithdrawn == true)
        #expect(Self.server("2 8 1 1 0 6 3 3 6")?.isWithdrawn == true && isUp("2 8 1 1 0 6 3 3 6") == false)
    }

    @Test("what is no such list is none", arguments: ["", "1", "2\n# srv_name\n", "Unknown command\n", "1\nx\n"])
    func hostile(text: String) {
        #expect(HAProxyRuntime.servers(in: text) == nil)
        #expect(HAProxyRuntime.servers(in: Self.text("4 acme 1 api 127.0.0.9")) == nil)
        #expect(HAProxyRuntime.servers(in: Self.text()) == [])
    }

    @Test("of several frontends those that lead count; without any the reasons are said")
    func leading() throws {
        let client = ClientID("acme")!
        let place = HostPort(host: "127.0.0.9", port: 8081)
        let answers = [
            FrontendAnswer(address: "10.0.0.6", runtime: "r:1", leadsTo: place),
            FrontendAnswer(address: "10.0.0.5", runtime: "r:2", leadsTo: place),
            FrontendAnswer(address: "10.0.0.7", runtime: "r:3", problem: "HAProxy at r:3: no connection"),
        ]
        #expect(try Frontends.leading(answers, client) == ["10.0.0.5", "10.0.0.6"])
        #expect(answers.compactMap(\.complaint) == ["frontend 10.0.0.7 is left out: HAProxy at r:3: no connection"])
        let error = #expect(throws: TrafficError.self) { try Frontends.leading([answers[2]], client) }
        #expect(error?.message.contains("r:3: no connection") == true)
    }
}
