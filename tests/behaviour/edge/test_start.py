from tests.support.server import Server


def test_a_call_with_a_key_and_a_version_reaches_its_operation(server: Server):
    with server.client() as client:
        answer = client.get("/openai/fine_tuning/jobs")

    assert answer.status_code == 501
    assert server.answers[-1].path == "/openai/fine_tuning/jobs"
