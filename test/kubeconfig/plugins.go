package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/net/http/httpguts"
	execauth "k8s.io/client-go/plugin/pkg/client/auth/exec"
	"k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/transport"
)

// Answer is what a plugin prints, and what client-go makes of it.
type Answer struct {
	Name    string `json:"name"`
	Text    []byte `json:"text"`
	Version string `json:"version"`
	// Empty for credentials.
	Error string `json:"error"`
	// The header.
	Authorization string `json:"authorization"`
	// The first one of the chain, in DER.
	Certificate []byte `json:"certificate"`
	// Whether the plugin runs again for the second request.
	Expired bool `json:"expired"`
}

// Kuberc is a kuberc, and the commands that may run as plugins.
type Kuberc struct {
	File string `json:"file"`
	// Empty for one that kubectl takes.
	Error   string          `json:"error"`
	Allowed map[string]bool `json:"allowed"`
}

// Plugins are the cases of plugins in the output.
type Plugins struct {
	Answers []Answer `json:"answers"`
	Kubercs []Kuberc `json:"kubercs"`
	// PATH for the kubercs.
	Path string `json:"path"`
}

// writePlugins writes the cases of plugins into plugins.json.
func writePlugins(dir string) error {
	var plugins Plugins
	for index, each := range allAnswers() {
		if err := each.ask(filepath.Join(dir, fmt.Sprint("answer-", index))); err != nil {
			return err
		}
		plugins.Answers = append(plugins.Answers, each)
	}
	plugins.Path = filepath.Join(dir, "bin")
	var err error
	if plugins.Kubercs, err = allKubercs(dir, plugins.Path); err != nil {
		return err
	}
	output, err := json.Marshal(plugins)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "plugins.json"), output, 0o600)
}

// ask sends two requests with the credentials of a plugin that prints the answer.
func (a *Answer) ask(file string) error {
	if err := os.WriteFile(file, a.Text, 0o600); err != nil {
		return err
	}
	config := &api.ExecConfig{
		Command:         "/bin/sh",
		Args:            []string{"-c", "cat $0; echo >> $0.runs", file},
		APIVersion:      a.Version,
		InteractiveMode: api.NeverExecInteractiveMode,
	}
	recorder, settings, err := request(config)
	if err == nil {
		a.Authorization = recorder.header.Get("Authorization")
		if !httpguts.ValidHeaderFieldValue(a.Authorization) {
			err = fmt.Errorf("net/http: invalid header field value for \"Authorization\"")
		}
	}
	if err != nil {
		a.Error = err.Error()
		return nil
	}
	if _, _, err = request(config); err != nil {
		return err
	}
	runs, err := os.ReadFile(file + ".runs")
	if err != nil {
		return err
	}
	a.Expired = len(runs) > 1
	var certificate *tls.Certificate
	if certificate, err = settings.TLS.GetCertHolder.GetCert(); err == nil && certificate != nil {
		a.Certificate = certificate.Certificate[0]
	}
	return err
}

// request sends a request with the credentials of a plugin.
func request(config *api.ExecConfig) (*recorder, *transport.Config, error) {
	authenticator, err := execauth.GetAuthenticator(config, nil)
	if err != nil {
		return nil, nil, err
	}
	settings := &transport.Config{}
	if err := authenticator.UpdateTransportConfig(settings); err != nil {
		return nil, nil, err
	}
	recorder := &recorder{}
	request, err := http.NewRequest(http.MethodGet, "https://10.0.0.1:6443/api", strings.NewReader(""))
	if err != nil {
		return nil, nil, err
	}
	_, err = settings.WrapTransport(recorder).RoundTrip(request)
	return recorder, settings, err
}
