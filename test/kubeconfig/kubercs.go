package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/kubectl/pkg/kuberc"
)

const preference = "apiVersion: kubectl.config.k8s.io/v1beta1\nkind: Preference\n"

// policies are lines of a Preference. @ is the folder in PATH, and @@ another one.
var policies = []string{
	"", "credentialPluginPolicy: AllowAll", "credentialPluginPolicy: DenyAll", "credentialPluginPolicy: ''", "credentialPluginPolicy: null", "credentialPluginPolicy: ~",
	"credentialPluginPolicy: allowall", "credentialPluginPolicy: Deny", "credentialPluginPolicy: 1", "credentialPluginPolicy: [DenyAll]", "credentialPluginPolicy: yes",
	"CredentialPluginPolicy: DenyAll", "credentialpluginpolicy: DenyAll", "credentialPluginPolicy: DenyAll\ncredentialPluginPolicy: AllowAll",
	"credentialPluginPolicy: AllowAll\ncredentialPluginPolicy: DenyAll", "credentialPluginPolicy: 'DenyAll '", "credentialPluginPolicy: Allowlist",
	"credentialPluginPolicy: AllowAll\ncredentialPluginAllowlist: []", "credentialPluginPolicy: DenyAll\ncredentialPluginAllowlist: []",
	"credentialPluginPolicy: DenyAll\ncredentialPluginAllowlist: null", "credentialPluginPolicy: AllowAll\ncredentialPluginAllowlist: [{command: plugin}]",
	"credentialPluginAllowlist: [{command: plugin}]", "credentialPluginAllowlist: []", "credentialPluginAllowlist: null", "credentialPluginPolicy: DenyAll\nunknown: 1",
	"credentialPluginPolicy: DenyAll\ncredentialPluginAllowList: [{command: plugin}]", "credentialPluginPolicy: DenyAll\naliases: []", "credentialPluginPolicy: DenyAll\ndefaults: null",
	"credentialPluginPolicy: DenyAll\naliases: [{name: getn, command: get}]", "credentialPluginPolicy: DenyAll\naliases: [{name: '1', command: get}]",
	"credentialPluginPolicy: DenyAll\naliases: x", "credentialPluginPolicy: DenyAll\ndefaults: [{command: 1}]", "credentialPluginPolicy: DenyAll\nmetadata: {name: x}",
	"credentialPluginPolicy: DenyAll\nmetadata: 1", "credentialPluginPolicy: &a DenyAll\nother: *a", "<<: {credentialPluginPolicy: DenyAll}", "credentialPluginPolicy: [",
	"credentialPluginPolicy: DenyAll\n1: x", "\tcredentialPluginPolicy: DenyAll", "credentialPluginPolicy: DenyAll\n---\n" + preference, "---\n" + preference + "credentialPluginPolicy: DenyAll",
	"credentialPluginPolicy: DenyAll\n---\n[", "credentialPluginPolicy: DenyAll\n...\n", "credentialPluginPolicy: DenyAll # c", "credentialPluginPolicy: !!str DenyAll",
}

// entries are allowlists.
var entries = []string{
	"", "null", "{command: plugin}", "{name: plugin}", "{command: plugin, name: plugin}", "{command: plugin, name: other}", "{command: plugin, name: ''}", "{command: '', name: plugin}",
	"{command: @/plugin}", "{name: @/plugin}", "{command: @@/plugin}", "{command: other}", "{command: other}, {command: plugin}", "{command: ''}", "{}", "{command: plugin}, {}", "{command: null}",
	"{command: ./plugin}", "{command: @/../bin/plugin}", "{command: @/plugin/}", "{command: plugin/}", "{command: bin/plugin}", "{command: /}", "{command: .}", "{command: ..}", "{command: ' plugin'}",
	"{command: PLUGIN}", "{command: plugin, unknown: 1}", "{command: plugin, args: [a]}", "{Command: plugin}", "{command: 1}", "{command: [plugin]}", "{command: plugin, command: other}", "plugin", "[plugin]",
	"{command: missing}", "{command: @/missing}", "{command: link}", "{command: @/link}", "{command: '*'}", "{command: //plugin}", "{command: text}", "{command: @/text}", "{name: 1}",
}

// kubercTexts are whole files.
var kubercTexts = []string{
	"", "\n", "# c\n", "---\n", "---\n---\n", "null", "{}", "[]", "x", "{", "\xff", "kind: Preference\ncredentialPluginPolicy: DenyAll\n",
	"apiVersion: kubectl.config.k8s.io/v1beta1\ncredentialPluginPolicy: DenyAll\n", "apiVersion: kubectl.config.k8s.io/v1alpha1\nkind: Preference\ncredentialPluginPolicy: DenyAll\n",
	"apiVersion: kubectl.config.k8s.io/v1\nkind: Preference\ncredentialPluginPolicy: DenyAll\n", "apiVersion: kubectl.config.k8s.io/v1beta1\nkind: Other\n",
	"apiVersion: v1\nkind: Config\n", "apiVersion: v1\nkind: Config\n---\n" + preference + "credentialPluginPolicy: DenyAll\n", "[\n---\n" + preference + "credentialPluginPolicy: DenyAll\n",
	preference + "credentialPluginPolicy: [\n---\n" + preference + "credentialPluginPolicy: DenyAll\n", preference + "credentialPluginPolicy: 1\n---\n" + preference + "credentialPluginPolicy: DenyAll\n",
	preference + "---\n" + preference + "credentialPluginPolicy: DenyAll\n", "apiVersion: kubectl.config.k8s.io/v1alpha1\nkind: Preference\n---\n" + preference + "credentialPluginPolicy: DenyAll\n",
	"--- # c\n" + preference + "credentialPluginPolicy: DenyAll\n", "---  \n" + preference + "credentialPluginPolicy: DenyAll\n--- \n" + preference, "--- x\n" + preference + "credentialPluginPolicy: DenyAll\n",
	`{"apiVersion": "kubectl.config.k8s.io/v1beta1", "kind": "Preference", "credentialPluginPolicy": "DenyAll"}`,
	`{"apiVersion": "kubectl.config.k8s.io/v1beta1", "kind": "Preference", "credentialPluginPolicy": "DenyAll"} x`,
	"{apiVersion: kubectl.config.k8s.io/v1beta1, kind: Preference, credentialPluginPolicy: DenyAll}",
	`{"apiVersion": "kubectl.config.k8s.io/v1beta1", "kind": "Preference", "credentialPluginPolicy": "DenyAll", "credentialPluginPolicy": "AllowAll"}`,
	"\ufeff" + preference + "credentialPluginPolicy: DenyAll\n", strings.ReplaceAll(preference+"credentialPluginPolicy: DenyAll\n", "\n", "\r\n"),
	strings.ReplaceAll("---\n"+preference+"credentialPluginPolicy: DenyAll\n---\n"+preference, "\n", "\r\n"), "%YAML 1.1\n---\n" + preference + "credentialPluginPolicy: DenyAll\n",
	"kind: preference\napiVersion: kubectl.config.k8s.io/v1beta1\ncredentialPluginPolicy: DenyAll\n", "apiVersion: KUBECTL.config.k8s.io/v1beta1\nkind: Preference\ncredentialPluginPolicy: DenyAll\n",
	"apiVersion: kubectl.config.k8s.io/__internal\nkind: Preference\ncredentialPluginPolicy: DenyAll\n",
}

// allKubercs writes the files and the plugins, and asks kubectl which plugins may run.
func allKubercs(dir, path string) ([]Kuberc, error) {
	elsewhere := filepath.Join(dir, "elsewhere")
	if err := writePrograms(path, elsewhere); err != nil {
		return nil, err
	}
	texts := kubercTexts
	for _, lines := range policies {
		texts = append(texts, preference+lines+"\n")
	}
	for _, list := range entries {
		texts = append(texts, preference+"credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist: ["+list+"]\n")
	}
	commands := []string{
		"plugin", "other", "link", "text", path + "/plugin", path + "/link", path + "/../bin/plugin", elsewhere + "/plugin", path + "/missing", path + "//other",
	}
	os.Setenv("PATH", path)
	replacer := strings.NewReplacer("@@", elsewhere, "@", path)
	var kubercs []Kuberc
	for index, text := range texts {
		each := Kuberc{File: filepath.Join(dir, fmt.Sprint("kuberc-", index)), Allowed: map[string]bool{}}
		if err := os.WriteFile(each.File, []byte(replacer.Replace(text)), 0o600); err != nil {
			return nil, err
		}
		if err := each.check(commands); err != nil {
			each.Error = err.Error()
		}
		kubercs = append(kubercs, each)
	}
	return kubercs, nil
}

// writePrograms writes plugins whose credentials are good, and one file that is not executable.
func writePrograms(path, elsewhere string) error {
	answer := `{"apiVersion": "` + stableVersion + `", "kind": "ExecCredential", "status": {"token": "secret"}}`
	program := "#!/bin/sh\necho '" + answer + "'\n"
	return errors.Join(
		os.Mkdir(path, 0o700), os.Mkdir(elsewhere, 0o700),
		os.WriteFile(path+"/plugin", []byte(program), 0o700), os.WriteFile(path+"/other", []byte(program), 0o700),
		os.WriteFile(elsewhere+"/plugin", []byte(program), 0o700), os.WriteFile(path+"/text", []byte(program), 0o600),
		os.Symlink(path+"/plugin", path+"/link"),
	)
}

// check runs each command as `kubectl get` would.
func (k *Kuberc) check(commands []string) error {
	root := &cobra.Command{Use: "kubectl"}
	root.AddCommand(&cobra.Command{Use: "get", Run: func(*cobra.Command, []string) {}})
	flags := genericclioptions.NewConfigFlags(false)
	if _, err := kuberc.NewPreferences().Apply(root, flags, []string{"kubectl", "get", "--kuberc", k.File}, io.Discard); err != nil {
		return err
	}
	for _, command := range commands {
		config := &rest.Config{ExecProvider: &api.ExecConfig{
			Command: command, APIVersion: stableVersion, InteractiveMode: api.NeverExecInteractiveMode, InstallHint: k.File,
		}}
		if flags.WrapConfigFn != nil {
			config = flags.WrapConfigFn(config)
		}
		_, _, err := request(config.ExecProvider)
		k.Allowed[command] = err == nil
	}
	return nil
}
